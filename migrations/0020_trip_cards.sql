-- A trip with its members as lists show it, ready to be sent: a list reads a row per trip, and joins neither members nor
-- profiles. Triggers keep the cards, since a statement that writes a trip, a membership or a name should not have to
-- think of them.

CREATE TABLE trip_cards (
    trip_id uuid PRIMARY KEY REFERENCES trips (id) ON DELETE CASCADE,
    body    text NOT NULL
);
-- split

-- Times and numbers as the API writes them.
CREATE FUNCTION wire_time(moment timestamptz) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT replace(utc_text(moment), '.000000Z', 'Z')
$$;
-- split
-- Drivers store the first and the last day of their calendar as infinite dates.
CREATE FUNCTION wire_midnight(day date) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT to_char(CASE day WHEN 'infinity' THEN '9999-12-31' WHEN '-infinity' THEN '0001-01-01' ELSE day END,
                   'YYYY-MM-DD"T00:00:00Z"')
$$;
-- split
CREATE FUNCTION wire_number(number float8) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN strpos(number::text, 'e') > 0 AND abs(number) >= 1e-5 THEN number::text::numeric::text
                WHEN strpos(number::text, 'e') > 0 THEN replace(number::text, 'e-0', 'e-')
                WHEN strpos(number::text, '.') > 0 THEN number::text
                ELSE number::text || '.0' END
$$;
-- split

-- The JSON of the API's `TripView`, its fields in the same order.
CREATE FUNCTION trip_card(trip uuid) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT '{"id":"' || t.id || '","name":' || to_json(t.name) || ',"description":' || to_json(t.description)
        || ',"destinationLatitude":' || wire_number(t.destination_latitude)
        || ',"destinationLongitude":' || wire_number(t.destination_longitude)
        || ',"startDate":"' || wire_midnight(t.start_date) || '","endDate":"' || wire_midnight(t.end_date)
        || '","status":"' || t.status || '","createdAt":"' || wire_time(t.created_at)
        || '","updatedAt":"' || wire_time(t.updated_at) || '","backgroundImageUrl":' || to_json(t.background_image_url)
        || ',"members":[' || coalesce(crew.members, '') || '],"participantCount":' || crew.size
        || coalesce(',"destinationPlaceId":' || to_json(t.destination_place_id), '')
        || coalesce(',"destinationAddress":' || to_json(t.destination_address), '')
        || coalesce(',"destinationName":' || to_json(t.destination_name), '')
        || coalesce(',"createdBy":"' || t.created_by || '"', '')
        || coalesce(',"createdByName":' || to_json(crew.creator), '') || '}'
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

-- A card in rows of at most 20,000 bytes, in the order of `n`: the Data API returns at most 64 KB of escaped JSON in one.
CREATE FUNCTION card_parts(card text) RETURNS TABLE (n integer, part text) LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT n, CASE WHEN octet_length(card) <= 20000 THEN card ELSE substr(card, 1 + n * 5000, 5000) END
    FROM generate_series(0, CASE WHEN octet_length(card) <= 20000 THEN 0 ELSE (length(card) - 1) / 5000 END) AS n
$$;
-- split

-- Behind the lock, the next statement sees all that earlier holders of the lock have committed. The lock on a card is
-- taken after all others, and locks on several cards in the order of the trips.
CREATE FUNCTION renew_trip_card(trip uuid) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM FROM trip_cards c WHERE c.trip_id = trip FOR NO KEY UPDATE;
    INSERT INTO trip_cards (trip_id, body) SELECT t.id, trip_card(t.id) FROM trips t WHERE t.id = trip
    ON CONFLICT (trip_id) DO UPDATE SET body = excluded.body;
END
$$;
-- split

CREATE FUNCTION renew_card_of_trip() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM renew_trip_card(NEW.id);
    RETURN NULL;
END
$$;
-- split
-- A new trip gets its card with its first member. The number of members is counted from the memberships.
CREATE TRIGGER trips_renew_card AFTER UPDATE ON trips FOR EACH ROW
WHEN ((OLD.name, OLD.description, OLD.destination_place_id, OLD.destination_address, OLD.destination_name,
       OLD.destination_latitude, OLD.destination_longitude, OLD.start_date, OLD.end_date, OLD.status, OLD.created_by,
       OLD.created_at, OLD.updated_at, OLD.background_image_url)
      IS DISTINCT FROM
      (NEW.name, NEW.description, NEW.destination_place_id, NEW.destination_address, NEW.destination_name,
       NEW.destination_latitude, NEW.destination_longitude, NEW.start_date, NEW.end_date, NEW.status, NEW.created_by,
       NEW.created_at, NEW.updated_at, NEW.background_image_url))
EXECUTE FUNCTION renew_card_of_trip();
-- split

CREATE FUNCTION renew_cards_of_memberships() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM renew_trip_card(trip_id) FROM (SELECT DISTINCT trip_id FROM changed ORDER BY trip_id) AS written;
    RETURN NULL;
END
$$;
-- split
CREATE TRIGGER members_added_renew_cards AFTER INSERT ON trip_memberships
REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION renew_cards_of_memberships();
-- split
CREATE TRIGGER members_changed_renew_cards AFTER UPDATE ON trip_memberships
REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION renew_cards_of_memberships();
-- split
CREATE TRIGGER members_deleted_renew_cards AFTER DELETE ON trip_memberships
REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION renew_cards_of_memberships();
-- split

CREATE FUNCTION renew_cards_of_user() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM renew_trip_card(trip_id) FROM (
        SELECT m.trip_id FROM trip_memberships m WHERE m.user_id = NEW.id AND m.status = 'ACTIVE' ORDER BY m.trip_id
    ) AS own;
    RETURN NULL;
END
$$;
-- split
CREATE TRIGGER profiles_renew_cards AFTER UPDATE ON user_profiles FOR EACH ROW
WHEN ((OLD.first_name, OLD.last_name, OLD.username) IS DISTINCT FROM (NEW.first_name, NEW.last_name, NEW.username))
EXECUTE FUNCTION renew_cards_of_user();
-- split

INSERT INTO trip_cards SELECT id, trip_card(id) FROM trips;
