-- name: add
WITH gate AS MATERIALIZED (
    SELECT * FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int)
), claim AS (
    INSERT INTO replays AS r (key, result_id, expires_at)
    SELECT :fingerprint::bytea, :id::uuid, :kept_until::timestamptz FROM gate WHERE verdict = 'ok'
    ON CONFLICT (key) DO UPDATE SET result_id = excluded.result_id, expires_at = excluded.expires_at
    WHERE r.expires_at <= :now::timestamptz
    RETURNING result_id
), added AS (
    INSERT INTO attachments (id, trip_id, user_id, type, size_bytes, name, created_at)
    SELECT result_id, :trip_id::uuid, :caller::uuid, :type::text, :size_bytes::bigint, :name::text, :now::timestamptz
    FROM claim
)
SELECT CASE WHEN gate.verdict <> 'ok' THEN gate.verdict
            WHEN EXISTS (SELECT FROM claim) THEN 'ok'
            ELSE 'replayed' END AS verdict
FROM gate

-- name: replayed
SELECT a.id, a.type, a.size_bytes, a.name
FROM replays r JOIN attachments a ON a.id = r.result_id AND a.deleted_at IS NULL
WHERE r.key = :fingerprint::bytea

-- name: one
-- Before it is in a message it is nobody's but its uploader's.
SELECT CASE WHEN gate.verdict = 'ok' AND a.id IS NULL THEN 'attachment_not_found' ELSE gate.verdict END AS verdict,
       a.id, a.type, a.size_bytes, a.name
FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int) gate
LEFT JOIN attachments a
    ON gate.verdict = 'ok' AND a.id = :id::uuid AND a.trip_id = gate.trip_id AND a.deleted_at IS NULL
    AND (a.message_id IS NOT NULL OR a.user_id = :caller::uuid)

-- name: take
WITH wanted AS MATERIALIZED (
    SELECT * FROM attachments
    WHERE id = :id::uuid AND trip_id = :trip_id::uuid AND user_id = :author::uuid AND deleted_at IS NULL
), taken AS (
    UPDATE attachments a SET message_id = :message_id::uuid FROM wanted
    WHERE a.id = wanted.id AND a.deleted_at IS NULL
        AND (a.message_id IS NULL OR a.message_id = :message_id::uuid)
    RETURNING a.id
)
SELECT CASE WHEN wanted.id IS NULL THEN 'attachment_not_found'
            WHEN taken.id IS NULL THEN 'attachment_used'
            ELSE 'ok' END AS verdict,
       wanted.id, wanted.type, wanted.size_bytes, wanted.name
FROM (SELECT 1) AS always LEFT JOIN wanted ON true LEFT JOIN taken ON true

-- name: release
UPDATE attachments SET deleted_at = :now::timestamptz
WHERE message_id = :message_id::uuid AND deleted_at IS NULL
RETURNING 1 AS released

-- name: expire
-- What nobody sent, and what belongs to trips that were deleted.
WITH due AS (
    (SELECT id FROM attachments
     WHERE message_id IS NULL AND deleted_at IS NULL AND created_at < :unused_since::timestamptz
     LIMIT :limit::int)
    UNION
    (SELECT a.id FROM trips t JOIN attachments a ON a.trip_id = t.id
     WHERE t.deleted_at IS NOT NULL AND a.deleted_at IS NULL
     LIMIT :limit::int)
)
UPDATE attachments a SET deleted_at = :now::timestamptz
FROM due JOIN attachments still ON still.id = due.id JOIN trips t ON t.id = still.trip_id
WHERE a.id = due.id AND a.deleted_at IS NULL AND (a.message_id IS NULL OR t.deleted_at IS NOT NULL)
RETURNING 1 AS expired

-- name: deleted
SELECT id, trip_id FROM attachments WHERE deleted_at IS NOT NULL ORDER BY deleted_at, id LIMIT :limit::int

-- name: forget
DELETE FROM attachments
WHERE deleted_at IS NOT NULL AND id IN (SELECT jsonb_array_elements_text(:ids::jsonb)::uuid)
RETURNING 1 AS gone
