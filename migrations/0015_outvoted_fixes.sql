-- Fixes too far from the last position, but in agreement with one another: the newest of them and their number. Several
-- outvote the last position, so that one wrong fix does not lock its owner there. All four are NULL, or none is.
ALTER TABLE last_positions
    ADD COLUMN rival_latitude double precision,
    ADD COLUMN rival_longitude double precision,
    ADD COLUMN rival_recorded_at timestamptz,
    ADD COLUMN rival_count integer;
-- split

-- Whether moving from one place to the other in this time is faster than `max_speed`; `too_fast` of the core is the same.
CREATE FUNCTION is_too_fast(
    latitude_1 float8, longitude_1 float8, time_1 timestamptz, latitude_2 float8, longitude_2 float8,
    time_2 timestamptz, max_speed_mps float8, min_interval_s float8
) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT metres_between(latitude_1, longitude_1, latitude_2, longitude_2)
           > max_speed_mps * greatest(min_interval_s, extract(epoch FROM time_2 - time_1)::float8)
$$;
-- split

-- When sharing without a duration of its own ends: a day after the trip's last local day. No time zone of a trip is
-- known, so the day ends where it ends last on earth, twelve hours after UTC. Trips may end on the first and on the last
-- day of the calendar, whose sharing would end outside the times that drivers read.
CREATE FUNCTION sharing_end(end_date date) RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (least(greatest(end_date, date '0002-01-01'), date '9999-12-01')::timestamp + interval '2 days 12 hours') AT TIME ZONE 'UTC'
$$;
-- split
CREATE INDEX location_sharing_with_trip ON location_sharing (trip_id) WHERE is_enabled AND expires_at IS NULL;
