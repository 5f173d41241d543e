-- name: open
SELECT id, status, start_date, end_date, timezone FROM trips
WHERE status IN ('PLANNING', 'ACTIVE') AND deleted_at IS NULL
    AND (:after::uuid IS NULL OR id > :after::uuid)
    -- Local days differ by one at most from the day in UTC.
    AND (status = 'PLANNING' AND start_date <= :today::date + 1 AND end_date >= :today::date - 1
         OR status = 'ACTIVE' AND end_date <= :today::date)
ORDER BY id LIMIT :limit::int

-- name: advance
-- Trips are locked in the order of their ids.
WITH change AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(:changes::jsonb) AS c (trip_id uuid, old text, new text, event_id uuid)
), locked AS MATERIALIZED (
    SELECT t.id, change.old, change.new, change.event_id
    FROM change JOIN trips t ON t.id = change.trip_id AND t.status = change.old AND t.deleted_at IS NULL
    ORDER BY t.id
    FOR NO KEY UPDATE OF t
), updated AS (
    UPDATE trips t SET status = locked.new, updated_at = :now::timestamptz
    FROM locked WHERE t.id = locked.id AND t.status = locked.old
    RETURNING t.id, locked.old, locked.new, locked.event_id
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, audience, occurred_at, payload)
    SELECT event_id, 'TRIP_STATUS_UPDATED', 'trip-management-service', id, 'trip', :now::timestamptz,
           jsonb_build_object('old_status', old, 'new_status', new, 'status', new, 'event_id', event_id)
    FROM updated
)
SELECT 1 AS advanced FROM updated
