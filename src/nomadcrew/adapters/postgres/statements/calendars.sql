-- name: add
WITH caller AS MATERIALIZED (
    SELECT id FROM user_profiles WHERE id = :caller::uuid
), gate AS MATERIALIZED (
    SELECT verdict FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int) WHERE :trip_id::uuid IS NOT NULL
    UNION ALL
    SELECT CASE WHEN EXISTS (SELECT FROM caller) THEN 'ok' ELSE 'user_not_onboarded' END WHERE :trip_id::uuid IS NULL
), checked AS MATERIALIZED (
    SELECT CASE WHEN verdict <> 'ok' THEN verdict
                WHEN EXISTS (SELECT FROM calendars
                             WHERE user_id = :caller::uuid AND trip_id IS NOT DISTINCT FROM :trip_id::uuid
                                 AND has_trips = :has_trips::boolean AND has_todos = :has_todos::boolean) THEN 'ok'
                WHEN locked_calendar_count(:caller::uuid) >= :max_calendars::int THEN 'too_many_calendars'
                ELSE 'ok' END AS verdict
    FROM gate
), stored AS (
    INSERT INTO calendars AS c (id, user_id, trip_id, has_trips, has_todos, created_at)
    SELECT :id::uuid, :caller::uuid, :trip_id::uuid, :has_trips::boolean, :has_todos::boolean, :now::timestamptz
    FROM checked WHERE verdict = 'ok'
    ON CONFLICT (user_id, coalesce(trip_id, '00000000-0000-0000-0000-000000000000'), has_trips, has_todos) DO UPDATE
    SET created_at = c.created_at
    RETURNING *
)
SELECT checked.verdict, stored.id, stored.trip_id, t.name AS trip_name, stored.has_trips, stored.has_todos,
       stored.created_at
FROM checked LEFT JOIN stored ON true LEFT JOIN trips t ON t.id = stored.trip_id

-- name: of
SELECT c.id, c.trip_id, t.name AS trip_name, c.has_trips, c.has_todos, c.created_at
FROM user_profiles caller
LEFT JOIN LATERAL (
    SELECT * FROM calendars WHERE user_id = caller.id ORDER BY created_at DESC, id DESC LIMIT :limit::int
) c ON true
-- The name of a trip that the user has left is not shown.
LEFT JOIN trips t ON t.id = c.trip_id AND is_active_member(c.trip_id, caller.id)
WHERE caller.id = :caller::uuid
ORDER BY c.created_at DESC, c.id DESC

-- name: delete
WITH deleted AS (
    DELETE FROM calendars WHERE id = :id::uuid AND user_id = :caller::uuid RETURNING id
)
SELECT (SELECT count(*) FROM deleted) AS deleted FROM user_profiles WHERE id = :caller::uuid

-- name: entries
-- One row of kind `none` for the calendar, then its trips and to-dos.
WITH calendar AS MATERIALIZED (
    SELECT * FROM calendars WHERE id = :id::uuid
), visible AS MATERIALIZED (
    SELECT t.* FROM calendar c
    JOIN trip_memberships m ON m.user_id = c.user_id AND m.status = 'ACTIVE'
    JOIN trips t ON t.id = m.trip_id AND t.deleted_at IS NULL
    WHERE c.trip_id IS NULL OR t.id = c.trip_id
), todo AS (
    SELECT d.*, visible.name AS trip_name
    FROM calendar CROSS JOIN visible CROSS JOIN LATERAL (
        SELECT * FROM todos WHERE trip_id = visible.id AND deleted_at IS NULL AND due_at IS NOT NULL
        ORDER BY due_at DESC LIMIT :max_todos::int
    ) d
    WHERE calendar.has_todos
    ORDER BY d.due_at DESC LIMIT :max_todos::int
)
SELECT 'none' AS kind, visible.name AS calendar_name, NULL::uuid AS id, NULL AS trip_name, NULL AS text, NULL AS place,
       NULL::float8 AS latitude, NULL::float8 AS longitude, NULL::date AS start_date, NULL::date AS end_date,
       NULL AS status, NULL::timestamptz AS due_at, NULL::timestamptz AS updated_at
FROM calendar LEFT JOIN visible ON visible.id = calendar.trip_id
UNION ALL
SELECT * FROM (
    SELECT 'trip', NULL, t.id, t.name, left(t.description, 1000),
           coalesce(nullif(t.destination_name, ''), t.destination_address, ''),
           t.destination_latitude, t.destination_longitude, t.start_date, t.end_date, t.status, NULL::timestamptz,
           t.updated_at
    FROM calendar CROSS JOIN visible t
    WHERE calendar.has_trips
    ORDER BY t.start_date DESC LIMIT :max_trips::int
) AS trip
UNION ALL
SELECT 'todo', NULL, id, trip_name, text, NULL, NULL, NULL, NULL, NULL, status, due_at, updated_at FROM todo
