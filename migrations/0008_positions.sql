-- Where people are: what they share, their last positions, their history by day, who looked, where they meet, and who
-- has arrived. What somebody may see of a position is decided in one place in the code, from the facts stored here.

CREATE FUNCTION metres_between(latitude_1 float8, longitude_1 float8, latitude_2 float8, longitude_2 float8)
RETURNS float8 LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT 2 * 6371008.8 * asin(least(1.0, sqrt(
        sin(radians(latitude_2 - latitude_1) / 2) ^ 2
        + cos(radians(latitude_1)) * cos(radians(latitude_2)) * sin(radians(longitude_2 - longitude_1) / 2) ^ 2)))
$$;
-- split

CREATE FUNCTION ghost_mode(preferences jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(preferences -> 'ghostMode' = 'true'::jsonb, false)
$$;
-- split

-- What a position is stored under: the strictest of what its report, the trip's setting and the profile say, and
-- hidden while it is shared with nobody. The code's `given_under` says the same.
CREATE FUNCTION given_under(
    asked text, setting text, preference text, is_ghost boolean, is_on boolean, has_ended boolean
) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN is_ghost OR NOT is_on OR has_ended OR 'hidden' IN (asked, setting, preference) THEN 'hidden'
                WHEN 'approximate' IN (asked, setting, preference) THEN 'approximate'
                ELSE 'precise' END
$$;
-- split

-- The id of an event that a trigger tells of: of version 8, from a hash of what caused it.
CREATE FUNCTION caused_id(cause text) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT overlay(overlay(left(encode(sha256(convert_to(cause, 'UTF8')), 'hex'), 32) PLACING '8' FROM 13)
                   PLACING '8' FROM 17)::uuid
$$;
-- split

-- What a member shares on a trip. There is no row before they first share, and none after they left or it ended.
CREATE TABLE location_sharing (
    trip_id    uuid NOT NULL REFERENCES trips (id) ON DELETE CASCADE,
    user_id    uuid NOT NULL REFERENCES user_profiles (id) ON DELETE CASCADE,
    is_enabled boolean NOT NULL,
    privacy    text CHECK (privacy IN ('hidden', 'approximate', 'precise')),
    expires_at timestamptz,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (trip_id, user_id)
);
-- split
CREATE INDEX location_sharing_user ON location_sharing (user_id);
-- split
CREATE INDEX location_sharing_expiry ON location_sharing (expires_at) WHERE is_enabled AND expires_at IS NOT NULL;
-- split

-- Each update is a new version of a row; with room on its page and no index on what changes, no index hears of it.
CREATE TABLE last_positions (
    trip_id     uuid NOT NULL REFERENCES trips (id) ON DELETE CASCADE,
    user_id     uuid NOT NULL REFERENCES user_profiles (id) ON DELETE CASCADE,
    latitude    double precision NOT NULL,
    longitude   double precision NOT NULL,
    accuracy_m  double precision,
    speed_mps   double precision,
    heading_deg double precision,
    recorded_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    privacy     text NOT NULL CHECK (privacy IN ('hidden', 'approximate', 'precise')),
    PRIMARY KEY (trip_id, user_id)
) WITH (fillfactor = 60);
-- split
CREATE INDEX last_positions_user ON last_positions (user_id);
-- split

-- Thirty days of points, a partition a day, since dropping a table is cheap and deleting millions of rows is not. The
-- key makes a point that is sent twice one point, and is how tracks are read. No foreign keys: they would be asked at
-- every point, and what they would delete is gone in a month. What is hidden is never stored here.
CREATE TABLE location_history (
    trip_id     uuid NOT NULL,
    user_id     uuid NOT NULL,
    recorded_at timestamptz NOT NULL,
    latitude    double precision NOT NULL,
    longitude   double precision NOT NULL,
    accuracy_m  double precision,
    speed_mps   double precision,
    heading_deg double precision,
    received_at timestamptz NOT NULL,
    privacy     text NOT NULL CHECK (privacy IN ('approximate', 'precise')),
    is_jump     boolean NOT NULL,
    PRIMARY KEY (trip_id, user_id, recorded_at)
) PARTITION BY RANGE (recorded_at);
-- split
CREATE INDEX location_history_age ON location_history USING brin (recorded_at);
-- split
-- Whatever has no day yet: late points of days before the first, and everything if the schedule stands still.
CREATE TABLE location_history_other PARTITION OF location_history DEFAULT;
-- split

-- Makes the days from today on, and those that late points wait for; drops those that are over. Returns how many.
CREATE FUNCTION keep_location_days(today date, ahead integer, kept integer) RETURNS integer LANGUAGE plpgsql
SET lock_timeout = '2s' AS $$
DECLARE
    a_day date;
    part  text;
    first timestamptz;
    after timestamptz;
    made  integer := 0;
    gone  integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(7206033);
    FOR a_day IN
        SELECT today + n FROM generate_series(0, ahead) AS n
        UNION SELECT (recorded_at AT TIME ZONE 'UTC')::date FROM location_history_other
              WHERE recorded_at >= (today - kept)::timestamp AT TIME ZONE 'UTC'
                AND recorded_at < (today + ahead + 1)::timestamp AT TIME ZONE 'UTC'
    LOOP
        part := 'location_history_' || to_char(a_day, 'YYYYMMDD');
        CONTINUE WHEN to_regclass(part) IS NOT NULL;
        first := a_day::timestamp AT TIME ZONE 'UTC';
        after := (a_day + 1)::timestamp AT TIME ZONE 'UTC';
        LOCK TABLE location_history_other IN ACCESS EXCLUSIVE MODE;
        EXECUTE format('CREATE TABLE %I (LIKE location_history INCLUDING CONSTRAINTS)', part);
        EXECUTE format(
            'WITH moved AS (
                 DELETE FROM location_history_other WHERE recorded_at >= %L AND recorded_at < %L RETURNING *
             ) INSERT INTO %I SELECT * FROM moved', first, after, part);
        EXECUTE format(
            'ALTER TABLE location_history ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', part, first, after);
        made := made + 1;
    END LOOP;
    FOR part IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'location_history'::regclass AND c.relname ~ '_\d{8}$'
            AND to_date(right(c.relname, 8), 'YYYYMMDD') < today - kept
    LOOP
        EXECUTE format('DROP TABLE %I', part);
        made := made + 1;
    END LOOP;
    DELETE FROM location_history_other WHERE recorded_at < (today - kept)::timestamp AT TIME ZONE 'UTC';
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN made + gone;
END
$$;
-- split
SELECT keep_location_days((now() AT TIME ZONE 'UTC')::date, 7, 30);
-- split

-- Who was shown whose position, by the hour.
CREATE TABLE position_views (
    trip_id   uuid NOT NULL REFERENCES trips (id) ON DELETE CASCADE,
    owner_id  uuid NOT NULL REFERENCES user_profiles (id) ON DELETE CASCADE,
    viewer_id uuid NOT NULL REFERENCES user_profiles (id) ON DELETE CASCADE,
    hour      timestamptz NOT NULL,
    PRIMARY KEY (trip_id, owner_id, hour, viewer_id)
);
-- split
CREATE INDEX position_views_age ON position_views (hour);
-- split
CREATE INDEX position_views_owner ON position_views (owner_id);
-- split
CREATE INDEX position_views_viewer ON position_views (viewer_id);
-- split

CREATE TABLE meeting_points (
    trip_id   uuid PRIMARY KEY REFERENCES trips (id) ON DELETE CASCADE,
    latitude  double precision NOT NULL,
    longitude double precision NOT NULL,
    name      text NOT NULL CHECK (length(name) <= 255),
    radius_m  double precision NOT NULL,
    set_by    uuid REFERENCES user_profiles (id) ON DELETE SET NULL,
    set_at    timestamptz NOT NULL
);
-- split
CREATE INDEX meeting_points_set_by ON meeting_points (set_by);
-- split

-- Who is at a place, as far as it has been told; somebody who is clearly away again can arrive once more.
CREATE TABLE arrivals (
    trip_id    uuid NOT NULL REFERENCES trips (id) ON DELETE CASCADE,
    user_id    uuid NOT NULL REFERENCES user_profiles (id) ON DELETE CASCADE,
    place      text NOT NULL CHECK (place IN ('destination', 'meeting point')),
    is_there   boolean NOT NULL,
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (trip_id, user_id, place)
);
-- split
CREATE INDEX arrivals_user ON arrivals (user_id);
-- split

-- Whether anything of what a person shares reaches anybody.
CREATE FUNCTION may_be_seen(preference text, preferences jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT preference IS DISTINCT FROM 'hidden' AND NOT ghost_mode(preferences)
$$;
-- split

CREATE FUNCTION tell_sharing(s location_sharing, is_on boolean, at timestamptz) RETURNS void LANGUAGE sql AS $$
    INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
    VALUES (caused_id(concat_ws('|', 'sharing', s.trip_id, s.user_id, is_on, at)), 'LOCATION_SHARING_CHANGED',
            'location-service', s.trip_id, s.user_id, 'trip', at,
            jsonb_build_object('userId', s.user_id, 'isSharingEnabled', is_on))
    ON CONFLICT (id) DO NOTHING
$$;
-- split

-- Sharing ends with a membership and with a trip, whoever ends it, and does not come back with them.
CREATE FUNCTION stop_sharing() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    trip   uuid;
    person uuid;
    ended  record;
BEGIN
    IF TG_TABLE_NAME = 'trips' THEN
        trip := NEW.id;
    ELSE
        trip := NEW.trip_id;
        person := NEW.user_id;
        DELETE FROM last_positions WHERE trip_id = trip AND user_id = person;
        DELETE FROM arrivals WHERE trip_id = trip AND user_id = person;
    END IF;
    FOR ended IN
        WITH gone AS (
            DELETE FROM location_sharing WHERE trip_id = trip AND (person IS NULL OR user_id = person) RETURNING *
        )
        SELECT gone::location_sharing AS sharing FROM gone JOIN user_profiles p ON p.id = gone.user_id
        WHERE gone.is_enabled AND gone.privacy IS DISTINCT FROM 'hidden'
            AND (gone.expires_at IS NULL OR gone.expires_at > NEW.updated_at)
            AND may_be_seen(p.location_privacy_preference, p.preferences)
    LOOP
        PERFORM tell_sharing(ended.sharing, false, NEW.updated_at);
    END LOOP;
    RETURN NULL;
END
$$;
-- split
CREATE TRIGGER trips_ended AFTER UPDATE OF status ON trips FOR EACH ROW
WHEN (NEW.status IN ('COMPLETED', 'CANCELLED') AND OLD.status NOT IN ('COMPLETED', 'CANCELLED'))
EXECUTE FUNCTION stop_sharing();
-- split
CREATE TRIGGER members_left AFTER UPDATE OF status ON trip_memberships FOR EACH ROW
WHEN (OLD.status = 'ACTIVE' AND NEW.status <> 'ACTIVE') EXECUTE FUNCTION stop_sharing();
-- split

-- Somebody who hides, or shows themselves again, does so on all their trips at once.
CREATE FUNCTION tell_hiding() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tell_sharing(s, may_be_seen(NEW.location_privacy_preference, NEW.preferences), NEW.updated_at)
    FROM location_sharing s
    WHERE s.user_id = NEW.id AND s.is_enabled AND s.privacy IS DISTINCT FROM 'hidden'
        AND (s.expires_at IS NULL OR s.expires_at > NEW.updated_at);
    RETURN NULL;
END
$$;
-- split
CREATE TRIGGER people_hid AFTER UPDATE OF preferences, location_privacy_preference ON user_profiles FOR EACH ROW
WHEN (may_be_seen(OLD.location_privacy_preference, OLD.preferences)
      IS DISTINCT FROM may_be_seen(NEW.location_privacy_preference, NEW.preferences))
EXECUTE FUNCTION tell_hiding();
