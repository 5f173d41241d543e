-- name: accept
-- Reports of several users at once, one row each in the result. A user occurs at most once per trip and batch.
WITH report AS MATERIALIZED (
    SELECT r.*, gate.verdict, p.first_name, p.last_name, p.username, p.location_privacy_preference AS preference,
           ghost_mode(p.preferences) AS is_ghost, t.status IN ('COMPLETED', 'CANCELLED') AS has_ended,
           t.destination_latitude, t.destination_longitude, m.joined_at, s.trip_id IS NOT NULL AS was_set,
           s.is_enabled AS was_enabled, s.expires_at AS old_expires_at, s.privacy AS setting,
           greatest(s.shown_since, p.shown_since) AS was_shown_since,
           sharing_end(t.end_date) AS ends_at,
           coalesce(s.is_enabled AND coalesce(s.expires_at, sharing_end(t.end_date)) > r.now, false) AS was_on
    FROM jsonb_to_recordset(:reports::jsonb) AS r (
        n int, trip_id uuid, user_id uuid, is_enabled boolean, expires_at timestamptz, event_id uuid,
        now timestamptz, points jsonb)
    CROSS JOIN LATERAL trip_gate(r.trip_id, r.user_id, :min_rank::int) gate
    LEFT JOIN user_profiles p ON p.id = r.user_id
    LEFT JOIN trips t ON t.id = gate.trip_id
    LEFT JOIN trip_memberships m ON m.trip_id = gate.trip_id AND m.user_id = r.user_id
    LEFT JOIN location_sharing s ON s.trip_id = gate.trip_id AND s.user_id = r.user_id
), requested AS MATERIALIZED (
    SELECT report.*, coalesce(is_enabled, was_enabled, true) AS will_be_enabled,
           CASE WHEN expires_at IS NOT NULL THEN expires_at
                WHEN NOT is_enabled THEN NULL
                WHEN is_enabled IS NULL OR was_on THEN old_expires_at
                -- The member shares on after the trip.
                WHEN ends_at <= now THEN now + :max_sharing_s::float8 * interval '1 second' END AS will_expire_at
    FROM report
), resolved AS MATERIALIZED (
    SELECT requested.*, is_on,
           -- A member who turns sharing on again shares their current position, not earlier ones.
           CASE WHEN is_on AND was_set AND NOT was_on
                THEN greatest(was_shown_since, now - :fix_age_s::float8 * interval '1 second')
                ELSE was_shown_since END AS shown_since,
           -- A last position from before the member was hidden says nothing about how fast the member moves.
           CASE WHEN is_on AND was_set AND NOT was_on THEN now ELSE was_shown_since END AS trusted_since
    FROM requested
    CROSS JOIN LATERAL (
        SELECT will_be_enabled AND coalesce(will_expire_at, ends_at) > now AS is_on) AS sharing
), point AS MATERIALIZED (
    SELECT resolved.n, resolved.trip_id, resolved.user_id, resolved.now, x.k, x.latitude, x.longitude, x.accuracy_m,
           x.speed_mps, x.heading_deg, x.recorded_at,
           l.recorded_at IS NULL OR x.recorded_at > l.recorded_at AS is_later,
           coalesce(x.recorded_at = l.recorded_at, false) AS is_same_moment,
           l.privacy <> 'hidden' AS was_shown,
           CASE WHEN x.recorded_at < resolved.shown_since THEN 'hidden'
                ELSE given_under(
                    x.privacy, resolved.setting, resolved.preference, resolved.is_ghost, resolved.is_on,
                    resolved.has_ended)
           END AS privacy,
           x.is_jump,
           coalesce(
               NOT x.is_jump AND x.recorded_at > l.recorded_at
               AND l.received_at >= coalesce(resolved.trusted_since, l.received_at)
               AND is_too_fast(l.latitude, l.longitude, l.recorded_at, x.latitude, x.longitude, x.recorded_at,
                               :max_speed_mps::float8, :min_interval_s::float8),
               false) AS is_far,
           l.rival_latitude, l.rival_longitude, l.rival_recorded_at, l.rival_count
    FROM resolved
    CROSS JOIN LATERAL jsonb_to_recordset(resolved.points) AS x (
        k int, latitude float8, longitude float8, accuracy_m float8, speed_mps float8, heading_deg float8,
        recorded_at timestamptz, privacy text, is_jump boolean)
    LEFT JOIN last_positions l ON l.trip_id = resolved.trip_id AND l.user_id = resolved.user_id
    WHERE resolved.verdict = 'ok'
), far_points AS (
    SELECT point.*, row_number() OVER (PARTITION BY n ORDER BY recorded_at, k) AS place,
           count(*) OVER (PARTITION BY n) AS far
    FROM point WHERE is_far
), ballot AS MATERIALIZED (
    -- Fixes of one report agree with one another; those of earlier reports count if they agree with the first.
    SELECT n, far + CASE WHEN recorded_at > rival_recorded_at
                              AND NOT is_too_fast(rival_latitude, rival_longitude, rival_recorded_at, latitude,
                                                  longitude, recorded_at, :max_speed_mps::float8,
                                                  :min_interval_s::float8)
                         THEN rival_count ELSE 0 END AS votes
    FROM far_points WHERE place = 1
), ruled AS MATERIALIZED (
    SELECT point.n, point.trip_id, point.user_id, point.now, k, latitude, longitude, accuracy_m, speed_mps, heading_deg,
           recorded_at, was_shown, privacy,
           -- A hidden position also follows a visible one of the same moment: phones report their last fix once more.
           is_later OR is_same_moment AND was_shown AND privacy = 'hidden' AS is_newer,
           is_jump OR is_far AND ballot.votes < :min_agreeing::int AS is_jump
    FROM point LEFT JOIN ballot USING (n)
), newest AS MATERIALIZED (
    SELECT DISTINCT ON (n) * FROM ruled WHERE is_newer AND NOT is_jump ORDER BY n, recorded_at DESC, k DESC
), stored_sharing AS (
    INSERT INTO location_sharing AS s (trip_id, user_id, is_enabled, expires_at, updated_at)
    SELECT trip_id, user_id, will_be_enabled, will_expire_at, now FROM resolved
    WHERE verdict = 'ok' AND NOT has_ended AND (NOT was_set OR is_enabled IS NOT NULL)
    ORDER BY trip_id, user_id
    ON CONFLICT (trip_id, user_id) DO UPDATE
    SET is_enabled = excluded.is_enabled, expires_at = excluded.expires_at, updated_at = excluded.updated_at
    WHERE (s.is_enabled, s.expires_at) IS DISTINCT FROM (excluded.is_enabled, excluded.expires_at)
        -- A first report that says nothing about sharing does not reverse a choice made at the same moment.
        AND (SELECT r.is_enabled FROM resolved r WHERE r.trip_id = s.trip_id AND r.user_id = s.user_id) IS NOT NULL
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
    SELECT event_id, 'LOCATION_SHARING_CHANGED', 'location-service', resolved.trip_id, resolved.user_id, 'trip',
           resolved.now,
           jsonb_build_object('userId', resolved.user_id, 'isSharingEnabled', is_on AND NOT was_on)
    FROM resolved LEFT JOIN newest USING (n)
    -- A hidden position replaces a visible one, so clients must remove that one.
    WHERE verdict = 'ok' AND NOT has_ended AND NOT is_ghost
        AND (was_on <> is_on OR is_on AND newest.was_shown AND newest.privacy = 'hidden')
        AND preference IS DISTINCT FROM 'hidden' AND setting IS DISTINCT FROM 'hidden'
    RETURNING id
), updated AS (
    INSERT INTO last_positions AS l (trip_id, user_id, latitude, longitude, accuracy_m, speed_mps, heading_deg,
                                     recorded_at, received_at, privacy)
    SELECT trip_id, user_id, latitude, longitude, accuracy_m, speed_mps, heading_deg, recorded_at, now, privacy
    FROM newest ORDER BY trip_id, user_id
    ON CONFLICT (trip_id, user_id) DO UPDATE
    SET latitude = excluded.latitude, longitude = excluded.longitude, accuracy_m = excluded.accuracy_m,
        speed_mps = excluded.speed_mps, heading_deg = excluded.heading_deg, recorded_at = excluded.recorded_at,
        received_at = excluded.received_at, privacy = excluded.privacy, rival_latitude = NULL,
        rival_longitude = NULL, rival_recorded_at = NULL, rival_count = NULL
    WHERE excluded.recorded_at > l.recorded_at
        OR excluded.recorded_at = l.recorded_at AND excluded.privacy = 'hidden' AND l.privacy <> 'hidden'
    RETURNING trip_id, user_id
), rivals AS (
    UPDATE last_positions l
    SET rival_latitude = f.latitude, rival_longitude = f.longitude, rival_recorded_at = f.recorded_at,
        rival_count = ballot.votes
    FROM far_points f JOIN ballot USING (n)
    WHERE l.trip_id = f.trip_id AND l.user_id = f.user_id AND f.place = f.far
        AND NOT EXISTS (SELECT FROM newest WHERE newest.n = f.n)
), stored_history AS (
    INSERT INTO location_history (trip_id, user_id, recorded_at, latitude, longitude, accuracy_m, speed_mps,
                                  heading_deg, received_at, privacy, is_jump)
    SELECT trip_id, user_id, recorded_at, latitude, longitude, accuracy_m, speed_mps, heading_deg, now, privacy,
           is_jump
    FROM ruled WHERE privacy <> 'hidden'
    ON CONFLICT (trip_id, user_id, recorded_at) DO NOTHING
), report_jumps AS (
    SELECT n, jsonb_agg(k) FILTER (WHERE is_jump) AS jumps FROM ruled GROUP BY n
)
SELECT resolved.n, resolved.verdict, resolved.first_name, resolved.last_name, resolved.username,
       resolved.preference, resolved.is_ghost, resolved.has_ended, resolved.joined_at, resolved.will_be_enabled,
       resolved.will_expire_at, resolved.ends_at, resolved.setting, resolved.shown_since, resolved.trusted_since,
       resolved.destination_latitude, resolved.destination_longitude, mp.latitude AS meeting_latitude,
       mp.longitude AS meeting_longitude, mp.radius_m AS meeting_radius_m,
       coalesce(d.is_there, false) AS is_at_destination, coalesce(a.is_there, false) AS is_at_meeting_point,
       report_jumps.jumps::text AS jumps,
       CASE WHEN updated.trip_id IS NOT NULL THEN newest.k END AS newest, newest.privacy AS newest_privacy,
       EXISTS (SELECT FROM event WHERE event.id = resolved.event_id) AS has_told
FROM resolved
LEFT JOIN report_jumps USING (n)
LEFT JOIN newest USING (n)
LEFT JOIN updated ON updated.trip_id = resolved.trip_id AND updated.user_id = resolved.user_id
LEFT JOIN meeting_points mp ON resolved.verdict = 'ok' AND mp.trip_id = resolved.trip_id
LEFT JOIN arrivals d
    ON resolved.verdict = 'ok' AND d.trip_id = resolved.trip_id AND d.user_id = resolved.user_id
        AND d.place = 'destination'
LEFT JOIN arrivals a
    ON resolved.verdict = 'ok' AND a.trip_id = resolved.trip_id AND a.user_id = resolved.user_id
        AND a.place = 'meeting point'

-- name: hidden
-- A hidden position replaced a visible one: the event that `accept` inserts if it stores both.
INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
VALUES (:event_id::uuid, 'LOCATION_SHARING_CHANGED', 'location-service', :trip_id::uuid, :user_id::uuid, 'trip',
        :now::timestamptz, jsonb_build_object('userId', :user_id::uuid, 'isSharingEnabled', false))

-- name: crew
SELECT gate.verdict, t.status IN ('COMPLETED', 'CANCELLED') AS has_ended, reader.joined_at AS reader_joined_at,
       m.user_id, m.joined_at, p.first_name, p.last_name, p.username, p.location_privacy_preference AS preference,
       ghost_mode(p.preferences) AS is_ghost, s.is_enabled, s.expires_at, sharing_end(t.end_date) AS ends_at,
       s.privacy AS setting,
       l.latitude, l.longitude, l.accuracy_m, l.speed_mps, l.heading_deg, l.recorded_at, l.received_at, l.privacy
FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int) gate
LEFT JOIN trips t ON gate.verdict = 'ok' AND t.id = gate.trip_id
LEFT JOIN trip_memberships reader ON reader.trip_id = t.id AND reader.user_id = :caller::uuid
LEFT JOIN trip_memberships m ON m.trip_id = t.id AND m.status = 'ACTIVE'
LEFT JOIN user_profiles p ON p.id = m.user_id
LEFT JOIN location_sharing s ON s.trip_id = m.trip_id AND s.user_id = m.user_id
LEFT JOIN last_positions l ON l.trip_id = m.trip_id AND l.user_id = m.user_id
ORDER BY m.created_at, m.id

-- name: track
-- The first row has the facts, the other rows have the points.
WITH facts AS MATERIALIZED (
    SELECT CASE WHEN gate.verdict = 'ok' AND m.id IS NULL THEN 'member_not_found' ELSE gate.verdict END AS verdict,
           gate.trip_id, t.status IN ('COMPLETED', 'CANCELLED') AS has_ended, reader.joined_at AS reader_joined_at,
           m.joined_at, p.location_privacy_preference AS preference, ghost_mode(p.preferences) AS is_ghost,
           s.is_enabled, s.expires_at, sharing_end(t.end_date) AS ends_at, s.privacy AS setting
    FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int) gate
    LEFT JOIN trips t ON gate.verdict = 'ok' AND t.id = gate.trip_id
    LEFT JOIN trip_memberships reader ON reader.trip_id = t.id AND reader.user_id = :caller::uuid
    LEFT JOIN trip_memberships m ON m.trip_id = t.id AND m.user_id = :user_id::uuid AND m.status = 'ACTIVE'
    LEFT JOIN user_profiles p ON p.id = m.user_id
    LEFT JOIN location_sharing s ON s.trip_id = m.trip_id AND s.user_id = m.user_id
), points AS (
    SELECT h.*, row_number() OVER (ORDER BY h.recorded_at) AS number, count(*) OVER () AS total
    FROM facts JOIN location_history h
        ON h.trip_id = facts.trip_id AND h.user_id = :user_id::uuid
        AND h.recorded_at >= :start::timestamptz AND h.recorded_at < :end::timestamptz AND NOT h.is_jump
    WHERE facts.verdict = 'ok'
)
SELECT verdict, has_ended, reader_joined_at, joined_at, preference, is_ghost, is_enabled, expires_at, ends_at,
       setting,
       NULL::float8 AS latitude, NULL::float8 AS longitude, NULL::float8 AS accuracy_m, NULL::float8 AS speed_mps,
       NULL::float8 AS heading_deg, NULL::timestamptz AS recorded_at, NULL::timestamptz AS received_at,
       NULL::text AS privacy
FROM facts
UNION ALL
SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, latitude, longitude, accuracy_m, speed_mps,
       heading_deg,
       recorded_at, received_at, privacy
FROM points
WHERE number = total OR (number - 1) % ((total + :max_points::int - 2) / (:max_points::int - 1)) = 0
ORDER BY recorded_at NULLS FIRST

-- name: keep_history
INSERT INTO location_history (trip_id, user_id, recorded_at, latitude, longitude, accuracy_m, speed_mps, heading_deg,
                              received_at, privacy, is_jump)
SELECT trip_id, user_id, recorded_at, latitude, longitude, accuracy_m, speed_mps, heading_deg, received_at, privacy,
       is_jump
FROM jsonb_to_recordset(:points::jsonb) AS x (
    trip_id uuid, user_id uuid, recorded_at timestamptz, latitude float8, longitude float8, accuracy_m float8,
    speed_mps float8, heading_deg float8, received_at timestamptz, privacy text, is_jump boolean)
ORDER BY trip_id, user_id, recorded_at
ON CONFLICT (trip_id, user_id, recorded_at) DO NOTHING

-- name: history
WITH points AS (
    SELECT h.*, row_number() OVER (ORDER BY h.recorded_at) AS number, count(*) OVER () AS total
    FROM location_history h
    WHERE h.trip_id = :trip_id::uuid AND h.user_id = :user_id::uuid
        AND h.recorded_at >= :start::timestamptz AND h.recorded_at < :end::timestamptz AND NOT h.is_jump
)
SELECT latitude, longitude, accuracy_m, speed_mps, heading_deg, recorded_at, received_at, privacy
FROM points
WHERE number = total OR (number - 1) % ((total + :max_points::int - 2) / (:max_points::int - 1)) = 0
ORDER BY recorded_at

-- name: members_now
-- The active members among the requested ones, with their visibility settings and points of arrival.
SELECT x.n, m.joined_at, p.first_name, p.last_name, p.username, p.location_privacy_preference AS preference,
       ghost_mode(p.preferences) AS is_ghost, t.status IN ('COMPLETED', 'CANCELLED') AS has_ended,
       s.is_enabled, s.expires_at, sharing_end(t.end_date) AS ends_at, s.privacy AS setting, t.destination_latitude, t.destination_longitude,
       mp.latitude AS meeting_latitude, mp.longitude AS meeting_longitude, mp.radius_m AS meeting_radius_m,
       coalesce(d.is_there, false) AS is_at_destination, coalesce(a.is_there, false) AS is_at_meeting_point
FROM jsonb_to_recordset(:members::jsonb) AS x (n int, trip_id uuid, user_id uuid)
JOIN trips t ON t.id = x.trip_id AND t.deleted_at IS NULL
JOIN trip_memberships m ON m.trip_id = t.id AND m.user_id = x.user_id AND m.status = 'ACTIVE'
JOIN user_profiles p ON p.id = x.user_id
LEFT JOIN location_sharing s ON s.trip_id = t.id AND s.user_id = x.user_id
LEFT JOIN meeting_points mp ON mp.trip_id = t.id
LEFT JOIN arrivals d ON d.trip_id = t.id AND d.user_id = x.user_id AND d.place = 'destination'
LEFT JOIN arrivals a ON a.trip_id = t.id AND a.user_id = x.user_id AND a.place = 'meeting point'

-- name: own
SELECT caller.location_privacy_preference AS preference, ghost_mode(caller.preferences) AS is_ghost,
       t.id AS trip_id,
       t.name AS trip_name, s.is_enabled, s.expires_at, sharing_end(t.end_date) AS ends_at, s.privacy AS setting
FROM user_profiles caller
LEFT JOIN (trip_memberships m
           JOIN trips t ON t.id = m.trip_id AND t.deleted_at IS NULL AND t.status NOT IN ('COMPLETED', 'CANCELLED'))
    ON m.user_id = caller.id AND m.status = 'ACTIVE'
LEFT JOIN location_sharing s ON s.trip_id = t.id AND s.user_id = caller.id
WHERE caller.id = :caller::uuid
ORDER BY t.start_date DESC, t.id DESC LIMIT :max_trips::int

-- name: shared_trips
SELECT s.trip_id FROM location_sharing s
JOIN trips t ON t.id = s.trip_id AND t.deleted_at IS NULL AND t.status NOT IN ('COMPLETED', 'CANCELLED')
JOIN trip_memberships m ON m.trip_id = s.trip_id AND m.user_id = s.user_id AND m.status = 'ACTIVE'
WHERE s.user_id = :caller::uuid AND s.is_enabled
    AND coalesce(s.expires_at, sharing_end(t.end_date)) > :now::timestamptz
ORDER BY s.trip_id LIMIT :max_trips::int

-- name: arrived
WITH stored AS (
    INSERT INTO arrivals AS a (trip_id, user_id, place, is_there, changed_at)
    SELECT m.trip_id, m.user_id, :place::text, :is_there::boolean, :now::timestamptz
    FROM trip_memberships m
    WHERE m.trip_id = :trip_id::uuid AND m.user_id = :user_id::uuid AND m.status = 'ACTIVE'
    ON CONFLICT (trip_id, user_id, place) DO UPDATE
    SET is_there = excluded.is_there, changed_at = excluded.changed_at
    WHERE a.is_there <> excluded.is_there
    RETURNING trip_id, user_id
)
INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
SELECT :event_id::uuid, 'MEMBER_ARRIVED', 'location-service', trip_id, user_id, 'trip', :now::timestamptz,
       jsonb_build_object('userId', user_id, 'name', :name::text, 'place', :place::text)
FROM stored WHERE :is_there::boolean
RETURNING id

-- name: change
WITH gate AS MATERIALIZED (
    SELECT * FROM locked_trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int)
), old AS (
    SELECT locked.preference, locked.is_ghost, t.status IN ('COMPLETED', 'CANCELLED') AS has_ended,
           s.is_enabled, s.expires_at, sharing_end(t.end_date) AS ends_at, s.privacy,
           coalesce(s.is_enabled AND coalesce(s.expires_at, sharing_end(t.end_date)) > :now::timestamptz, false)
               AS was_on
    FROM gate
    JOIN trips t ON t.id = gate.trip_id
    CROSS JOIN LATERAL locked_sharing(gate.trip_id, :caller::uuid) locked
    CROSS JOIN LATERAL (SELECT (locked.sharing).*) s
    WHERE gate.verdict = 'ok'
), requested AS (
    SELECT old.*, coalesce(:is_enabled::boolean, is_enabled, false) AS will_be_enabled,
           CASE WHEN :expires_at::timestamptz IS NOT NULL THEN :expires_at::timestamptz
                WHEN NOT :is_enabled::boolean THEN NULL
                WHEN :is_enabled::boolean IS NULL OR was_on THEN expires_at
                WHEN ends_at <= :now::timestamptz
                    THEN :now::timestamptz + :max_sharing_s::float8 * interval '1 second' END AS will_expire_at,
           CASE WHEN :keep_privacy::boolean THEN privacy ELSE :privacy::text END AS will_be_private
    FROM old
), visibility AS (
    SELECT requested.*, was_on AND privacy IS DISTINCT FROM 'hidden' AS was_shown,
           will_be_enabled AND coalesce(will_expire_at, ends_at) > :now::timestamptz
               AND will_be_private IS DISTINCT FROM 'hidden' AS is_shown
    FROM requested
), stored AS (
    INSERT INTO location_sharing AS s (trip_id, user_id, is_enabled, expires_at, privacy, updated_at)
    SELECT :trip_id::uuid, :caller::uuid, will_be_enabled, will_expire_at, will_be_private, :now::timestamptz
    FROM visibility WHERE NOT has_ended
    ON CONFLICT (trip_id, user_id) DO UPDATE
    SET is_enabled = excluded.is_enabled, expires_at = excluded.expires_at, privacy = excluded.privacy,
        updated_at = excluded.updated_at
    WHERE (s.is_enabled, s.expires_at, s.privacy)
          IS DISTINCT FROM (excluded.is_enabled, excluded.expires_at, excluded.privacy)
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
    SELECT :event_id::uuid, 'LOCATION_SHARING_CHANGED', 'location-service', :trip_id::uuid, :caller::uuid, 'trip',
           :now::timestamptz, jsonb_build_object('userId', :caller::uuid, 'isSharingEnabled', is_shown)
    FROM visibility
    WHERE NOT has_ended AND was_shown <> is_shown AND NOT is_ghost AND preference IS DISTINCT FROM 'hidden'
    UNION ALL
    -- For the mirror, whose copies of positions have the previous precision.
    SELECT gen_random_uuid(), 'location_privacy.changed', 'location-service', NULL, :caller::uuid, 'internal',
           :now::timestamptz, jsonb_build_object('userId', :caller::uuid)
    FROM visibility WHERE NOT has_ended AND privacy IS DISTINCT FROM will_be_private
)
SELECT CASE WHEN gate.verdict = 'ok' AND visibility.has_ended THEN 'trip_ended' ELSE gate.verdict END AS verdict
FROM gate LEFT JOIN visibility ON true

-- name: expire
WITH with_duration AS (
    SELECT trip_id, user_id FROM location_sharing WHERE is_enabled AND expires_at <= :now::timestamptz
    ORDER BY expires_at LIMIT :limit::int FOR UPDATE SKIP LOCKED
), with_trip AS (
    SELECT s.trip_id, s.user_id FROM location_sharing s JOIN trips t ON t.id = s.trip_id
    WHERE s.is_enabled AND s.expires_at IS NULL AND sharing_end(t.end_date) <= :now::timestamptz
    LIMIT :limit::int FOR UPDATE OF s SKIP LOCKED
), due AS (
    SELECT * FROM with_duration UNION ALL SELECT * FROM with_trip
), ended AS (
    UPDATE location_sharing s SET is_enabled = false, updated_at = :now::timestamptz
    FROM due WHERE s.trip_id = due.trip_id AND s.user_id = due.user_id
    RETURNING s.*
), events AS MATERIALIZED (
    SELECT tell_sharing(ROW(ended.*)::location_sharing, false, :now::timestamptz)
    FROM ended JOIN user_profiles p ON p.id = ended.user_id
    WHERE ended.privacy IS DISTINCT FROM 'hidden' AND may_be_seen(p.location_privacy_preference, p.preferences)
)
SELECT 1 AS expired, (SELECT count(*) FROM events) AS events FROM ended

-- name: keep_days
SELECT keep_location_days(:today::date, :ahead::int, :kept::int) AS changed

-- name: note_views
INSERT INTO position_views (trip_id, owner_id, viewer_id, hour)
SELECT t.id, owner.id, viewer.id, :hour::timestamptz
FROM trips t
JOIN user_profiles owner ON owner.id IN (
    SELECT named::uuid FROM jsonb_array_elements_text(:owners::jsonb) AS named)
JOIN user_profiles viewer ON viewer.id <> owner.id AND viewer.id IN (
    SELECT named::uuid FROM jsonb_array_elements_text(:viewers::jsonb) AS named)
WHERE t.id = :trip_id::uuid
ORDER BY owner.id, viewer.id
ON CONFLICT DO NOTHING

-- name: views
SELECT gate.verdict, v.viewer_id, v.hour, p.first_name, p.last_name, p.username
FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int) gate
LEFT JOIN LATERAL (
    SELECT * FROM position_views
    WHERE trip_id = gate.trip_id AND owner_id = :caller::uuid
        AND (:after_at::timestamptz IS NULL OR (hour, viewer_id) < (:after_at::timestamptz, :after_id::uuid))
    ORDER BY hour DESC, viewer_id DESC LIMIT :limit::int OFFSET :offset::int
) v ON gate.verdict = 'ok'
LEFT JOIN user_profiles p ON p.id = v.viewer_id
ORDER BY v.hour DESC, v.viewer_id DESC

-- name: purge_views
DELETE FROM position_views WHERE ctid IN (
    SELECT ctid FROM position_views WHERE hour < :before::timestamptz LIMIT :limit::int)
RETURNING 1 AS deleted

-- name: put_meeting_point
WITH gate AS MATERIALIZED (
    SELECT * FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int)
), stored AS (
    INSERT INTO meeting_points AS mp (trip_id, latitude, longitude, name, radius_m, set_by, set_at)
    SELECT trip_id, :latitude::float8, :longitude::float8, :name::text, :radius_m::float8, :caller::uuid,
           :now::timestamptz
    FROM gate WHERE verdict = 'ok'
    ON CONFLICT (trip_id) DO UPDATE
    SET latitude = excluded.latitude, longitude = excluded.longitude, name = excluded.name,
        radius_m = excluded.radius_m, set_by = excluded.set_by, set_at = excluded.set_at
    WHERE (mp.latitude, mp.longitude, mp.name, mp.radius_m)
          <> (excluded.latitude, excluded.longitude, excluded.name, excluded.radius_m)
    RETURNING *
), reset_arrivals AS (
    DELETE FROM arrivals a USING stored WHERE a.trip_id = stored.trip_id AND a.place = 'meeting point'
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
    SELECT :event_id::uuid, 'MEETING_POINT_CHANGED', 'location-service', trip_id, set_by, 'trip', set_at,
           jsonb_build_object('latitude', latitude, 'longitude', longitude, 'name', name, 'radius', radius_m)
    FROM stored
)
SELECT verdict FROM gate

-- name: meeting_point
SELECT CASE WHEN gate.verdict = 'ok' AND mp.trip_id IS NULL THEN 'meeting_point_not_found' ELSE gate.verdict END
           AS verdict,
       mp.latitude, mp.longitude, mp.name, mp.radius_m, mp.set_by, mp.set_at
FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int) gate
LEFT JOIN meeting_points mp ON gate.verdict = 'ok' AND mp.trip_id = gate.trip_id

-- name: clear_meeting_point
WITH gate AS MATERIALIZED (
    SELECT * FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int)
), deleted AS (
    DELETE FROM meeting_points mp USING gate WHERE gate.verdict = 'ok' AND mp.trip_id = gate.trip_id
    RETURNING mp.trip_id
), reset_arrivals AS (
    DELETE FROM arrivals a USING deleted WHERE a.trip_id = deleted.trip_id AND a.place = 'meeting point'
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
    SELECT :event_id::uuid, 'MEETING_POINT_CHANGED', 'location-service', trip_id, :caller::uuid, 'trip',
           :now::timestamptz, '{}'
    FROM deleted
)
SELECT verdict FROM gate
