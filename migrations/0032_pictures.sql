-- Pictures: photos of trips, and avatars, which have no trip. A row is reserved before its files are stored (`stored_at`
-- is NULL) and outlives them, so that every file has a row.
CREATE TABLE pictures (
    id         uuid PRIMARY KEY,
    -- Without cascades: the row must outlive its trip and its user until its files are gone.
    trip_id    uuid REFERENCES trips (id),
    user_id    uuid REFERENCES user_profiles (id) ON DELETE SET NULL,
    media_type text NOT NULL,
    size_bytes bigint NOT NULL CHECK (size_bytes > 0),
    status     text NOT NULL CHECK (status IN ('processing', 'ready', 'failed')),
    -- Of the large rendition.
    width_px   integer CHECK (width_px > 0),
    height_px  integer CHECK (height_px > 0),
    created_at timestamptz NOT NULL,
    stored_at  timestamptz,
    deleted_at timestamptz
);
-- split
CREATE INDEX pictures_trip ON pictures (trip_id, created_at DESC, id DESC) WHERE deleted_at IS NULL;
-- split
CREATE INDEX pictures_user ON pictures (user_id);
-- split
CREATE INDEX pictures_reserved ON pictures (created_at) WHERE stored_at IS NULL AND deleted_at IS NULL;
-- split
CREATE INDEX pictures_deleted ON pictures (deleted_at) WHERE deleted_at IS NOT NULL;
-- split

-- The photos and bytes of a trip, and whether the same request reserved one before; until the commit, no other
-- transaction reserves room on the trip. Reserved photos count.
CREATE FUNCTION locked_album(trip uuid, fingerprint bytea, at timestamptz)
RETURNS TABLE (photos bigint, bytes bigint, is_repeat boolean) LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM FROM trips t WHERE t.id = trip FOR NO KEY UPDATE;
    RETURN QUERY
    SELECT count(*), coalesce(sum(p.size_bytes), 0)::bigint,
           EXISTS (SELECT FROM replays r WHERE r.key = fingerprint AND r.expires_at > at)
    FROM pictures p WHERE p.trip_id = trip AND p.deleted_at IS NULL;
END
$$;
-- split

-- A photo in events: without links, which expire.
CREATE FUNCTION picture_json(p pictures) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_strip_nulls(jsonb_build_object(
        'id', p.id, 'tripId', p.trip_id, 'uploadedBy', p.user_id, 'uploadedAt', utc_text(p.created_at),
        'status', p.status, 'width', p.width_px, 'height', p.height_px))
$$;
-- split

-- An avatar ends when its user's profile no longer refers to it, by whichever write.
CREATE FUNCTION delete_unused_avatars() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    WITH deleted AS (
        UPDATE pictures SET deleted_at = NEW.updated_at
        WHERE user_id = NEW.id AND trip_id IS NULL AND stored_at IS NOT NULL AND deleted_at IS NULL
            AND NEW.avatar_url NOT LIKE '%/' || id
        RETURNING id
    )
    -- The same file may be uploaded again at once.
    DELETE FROM replays r USING deleted WHERE r.result_id = deleted.id;
    RETURN NULL;
END
$$;
-- split
CREATE TRIGGER user_profiles_avatars AFTER UPDATE OF avatar_url ON user_profiles FOR EACH ROW
WHEN (OLD.avatar_url IS DISTINCT FROM NEW.avatar_url)
EXECUTE FUNCTION delete_unused_avatars();
-- split

-- The photographer of a background picture and the page of the photo, if a service found it; both or none. Every card
-- is renewed with its trip, so those without a credit need no new one.
ALTER TABLE trips
    ADD COLUMN background_photographer text CHECK (length(background_photographer) BETWEEN 1 AND 255),
    ADD COLUMN background_page_url text CHECK (length(background_page_url) <= 512),
    ADD CHECK ((background_photographer IS NULL) = (background_page_url IS NULL));
-- split

-- A trip as events carry it; what is not set is left out, since the client takes absent but not null.
CREATE OR REPLACE FUNCTION trip_json(t trips) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_strip_nulls(jsonb_build_object(
        'id', t.id, 'name', t.name, 'description', t.description,
        'destinationPlaceId', t.destination_place_id, 'destinationAddress', t.destination_address,
        'destinationName', t.destination_name, 'destinationLatitude', t.destination_latitude,
        'destinationLongitude', t.destination_longitude,
        'startDate', to_char(t.start_date, 'YYYY-MM-DD"T00:00:00Z"'),
        'endDate', to_char(t.end_date, 'YYYY-MM-DD"T00:00:00Z"'),
        'status', t.status, 'createdBy', t.created_by, 'createdAt', utc_text(t.created_at),
        'updatedAt', utc_text(t.updated_at), 'backgroundImageUrl', t.background_image_url, 'timezone', t.timezone,
        'backgroundImageCredit', CASE WHEN t.background_photographer IS NOT NULL THEN jsonb_build_object(
            'photographer', t.background_photographer, 'url', t.background_page_url, 'source', 'Pexels') END
    ))
$$;
-- split

-- The JSON of the API's `TripView`, its fields in the same order.
CREATE OR REPLACE FUNCTION trip_card(trip uuid) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT '{"id":"' || t.id || '","name":' || to_json(t.name) || ',"description":' || to_json(t.description)
        || ',"destinationLatitude":' || wire_number(t.destination_latitude)
        || ',"destinationLongitude":' || wire_number(t.destination_longitude)
        || ',"startDate":"' || wire_midnight(t.start_date) || '","endDate":"' || wire_midnight(t.end_date)
        || '","status":"' || t.status || '","createdAt":"' || wire_time(t.created_at)
        || '","updatedAt":"' || wire_time(t.updated_at) || '","backgroundImageUrl":' || to_json(t.background_image_url)
        || ',"members":[' || coalesce(crew.members, '') || '],"participantCount":' || crew.size
        || ',"timezone":' || to_json(t.timezone)
        || coalesce(',"destinationPlaceId":' || to_json(t.destination_place_id), '')
        || coalesce(',"destinationAddress":' || to_json(t.destination_address), '')
        || coalesce(',"destinationName":' || to_json(t.destination_name), '')
        || coalesce(',"createdBy":"' || t.created_by || '"', '')
        || coalesce(',"createdByName":' || to_json(crew.creator), '')
        || coalesce(',"backgroundImageCredit":{"photographer":' || to_json(t.background_photographer)
                    || ',"url":' || to_json(t.background_page_url) || ',"source":"Pexels"}', '') || '}'
    FROM trips t CROSS JOIN LATERAL (
        SELECT count(*) AS size, max(display_name(p)) FILTER (WHERE m.user_id = t.created_by) AS creator,
               string_agg(
                   '{"id":"' || m.id || '","tripId":"' || m.trip_id || '","userId":"' || m.user_id
                   || '","role":"' || m.role || '","status":"' || m.status
                   || '","createdAt":"' || wire_time(m.created_at) || '","updatedAt":"' || wire_time(m.updated_at)
                   || '","name":' || to_json(display_name(p)) || '}', ',' ORDER BY m.created_at, m.id) AS members
        FROM trip_memberships m JOIN user_profiles p ON p.id = m.user_id
        WHERE m.trip_id = t.id AND m.status = 'ACTIVE'
    ) crew
    WHERE t.id = trip
$$;
-- split

DROP TRIGGER trips_renew_card ON trips;
-- split
-- A new trip gets its card with its first member.
CREATE TRIGGER trips_renew_card AFTER UPDATE ON trips FOR EACH ROW
WHEN ((OLD.name, OLD.description, OLD.destination_place_id, OLD.destination_address, OLD.destination_name,
       OLD.destination_latitude, OLD.destination_longitude, OLD.start_date, OLD.end_date, OLD.status, OLD.created_by,
       OLD.created_at, OLD.updated_at, OLD.background_image_url, OLD.timezone, OLD.background_photographer,
       OLD.background_page_url)
      IS DISTINCT FROM
      (NEW.name, NEW.description, NEW.destination_place_id, NEW.destination_address, NEW.destination_name,
       NEW.destination_latitude, NEW.destination_longitude, NEW.start_date, NEW.end_date, NEW.status, NEW.created_by,
       NEW.created_at, NEW.updated_at, NEW.background_image_url, NEW.timezone, NEW.background_photographer,
       NEW.background_page_url))
EXECUTE FUNCTION renew_card_of_trip();
