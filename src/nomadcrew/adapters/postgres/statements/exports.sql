-- name: recent
SELECT gate.verdict, e.id, e.stored_at, e.is_too_large
FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int) gate
LEFT JOIN LATERAL (
    SELECT * FROM trip_exports
    WHERE trip_id = gate.trip_id AND user_id = :caller::uuid AND with_files = :with_files::boolean
        AND requested_at > :since::timestamptz
    ORDER BY requested_at DESC LIMIT 1
) e ON gate.verdict = 'ok'

-- name: add
INSERT INTO trip_exports (id, trip_id, user_id, with_files, requested_at)
SELECT :id::uuid, gate.trip_id, :caller::uuid, :with_files::boolean, :now::timestamptz
FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int) gate WHERE gate.verdict = 'ok'

-- name: pending
SELECT trip_id, user_id, with_files FROM trip_exports
WHERE id = :id::uuid AND user_id IS NOT NULL AND stored_at IS NULL AND NOT is_too_large

-- name: complete
WITH updated AS (
    UPDATE trip_exports SET stored_at = :now::timestamptz, size_bytes = :size_bytes::bigint
    WHERE id = :id::uuid AND stored_at IS NULL
    RETURNING *
)
INSERT INTO outbox (id, type, source, trip_id, recipient_id, audience, occurred_at, payload)
SELECT :event_id::uuid, 'trip.exported', 'trip-management-service', trip_id, user_id, 'internal', :now::timestamptz,
       jsonb_build_object('exportId', id, 'tripId', trip_id, 'userId', user_id, 'files', with_files,
                          'sizeBytes', size_bytes)
FROM updated WHERE user_id IS NOT NULL

-- name: refuse
UPDATE trip_exports SET is_too_large = true WHERE id = :id::uuid AND stored_at IS NULL

-- name: expired
SELECT id FROM trip_exports WHERE requested_at < :before::timestamptz ORDER BY requested_at LIMIT :limit::int

-- name: forget
DELETE FROM trip_exports WHERE id IN (SELECT jsonb_array_elements_text(:ids::jsonb)::uuid)
