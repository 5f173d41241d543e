-- A trip's days are those of its destination. The step finds the time zones of stored trips from their coordinates; a trip
-- without a destination keeps the default.

ALTER TABLE trips ADD COLUMN timezone text NOT NULL DEFAULT 'UTC' CHECK (length(timezone) BETWEEN 1 AND 64);
-- split
-- step: fill_time_zones
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
        'updatedAt', utc_text(t.updated_at), 'backgroundImageUrl', t.background_image_url, 'timezone', t.timezone
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

DROP TRIGGER trips_renew_card ON trips;
-- split
-- A new trip gets its card with its first member.
CREATE TRIGGER trips_renew_card AFTER UPDATE ON trips FOR EACH ROW
WHEN ((OLD.name, OLD.description, OLD.destination_place_id, OLD.destination_address, OLD.destination_name,
       OLD.destination_latitude, OLD.destination_longitude, OLD.start_date, OLD.end_date, OLD.status, OLD.created_by,
       OLD.created_at, OLD.updated_at, OLD.background_image_url, OLD.timezone)
      IS DISTINCT FROM
      (NEW.name, NEW.description, NEW.destination_place_id, NEW.destination_address, NEW.destination_name,
       NEW.destination_latitude, NEW.destination_longitude, NEW.start_date, NEW.end_date, NEW.status, NEW.created_by,
       NEW.created_at, NEW.updated_at, NEW.background_image_url, NEW.timezone))
EXECUTE FUNCTION renew_card_of_trip();
-- split

UPDATE trip_cards SET body = trip_card(trip_id);
