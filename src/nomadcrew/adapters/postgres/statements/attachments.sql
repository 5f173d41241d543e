-- name: add
WITH gate AS MATERIALIZED (
    SELECT * FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int)
), idempotency_key AS (
    INSERT INTO replays AS r (key, result_id, expires_at)
    SELECT :fingerprint::bytea, :id::uuid, :kept_until::timestamptz FROM gate WHERE verdict = 'ok'
    ON CONFLICT (key) DO UPDATE SET result_id = excluded.result_id, expires_at = excluded.expires_at
    WHERE r.expires_at <= :now::timestamptz
    RETURNING result_id
), inserted AS (
    INSERT INTO attachments (id, trip_id, user_id, type, size_bytes, name, created_at)
    SELECT result_id, :trip_id::uuid, :caller::uuid, :type::text, :size_bytes::bigint, :name::text,
           :now::timestamptz
    FROM idempotency_key
)
SELECT CASE WHEN gate.verdict <> 'ok' THEN gate.verdict
            WHEN EXISTS (SELECT FROM idempotency_key) THEN 'ok'
            ELSE 'replayed' END AS verdict
FROM gate

-- name: replayed
SELECT a.id, a.type, a.size_bytes, a.name
FROM replays r JOIN attachments a ON a.id = r.result_id AND a.deleted_at IS NULL
WHERE r.key = :fingerprint::bytea

-- name: one
-- Until a message refers to the attachment, only its uploader may read it.
SELECT CASE WHEN gate.verdict = 'ok' AND a.id IS NULL THEN 'attachment_not_found' ELSE gate.verdict END AS verdict,
       a.id, a.type, a.size_bytes, a.name
FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int) gate
LEFT JOIN attachments a
    ON gate.verdict = 'ok' AND a.id = :id::uuid AND a.trip_id = gate.trip_id AND a.deleted_at IS NULL
    AND (a.message_id IS NOT NULL OR a.user_id = :caller::uuid)

-- name: take
WITH attachment AS MATERIALIZED (
    SELECT * FROM attachments
    WHERE id = :id::uuid AND trip_id = :trip_id::uuid AND user_id = :author::uuid AND deleted_at IS NULL
), attached AS (
    UPDATE attachments a SET message_id = :message_id::uuid FROM attachment
    WHERE a.id = attachment.id AND a.deleted_at IS NULL
        AND (a.message_id IS NULL OR a.message_id = :message_id::uuid)
    RETURNING a.id
)
SELECT CASE WHEN attachment.id IS NULL THEN 'attachment_not_found'
            WHEN attached.id IS NULL THEN 'attachment_used'
            ELSE 'ok' END AS verdict,
       attachment.id, attachment.type, attachment.size_bytes, attachment.name
FROM (SELECT 1) AS one_row LEFT JOIN attachment ON true LEFT JOIN attached ON true

-- name: release
UPDATE attachments SET deleted_at = :now::timestamptz
WHERE message_id = :message_id::uuid AND deleted_at IS NULL
RETURNING id

-- name: expire
-- Attachments that no message refers to, and those of deleted trips.
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
FROM due JOIN attachments current ON current.id = due.id JOIN trips t ON t.id = current.trip_id
WHERE a.id = due.id AND a.deleted_at IS NULL AND (a.message_id IS NULL OR t.deleted_at IS NOT NULL)
RETURNING 1 AS expired

-- name: deleted
SELECT id, trip_id FROM attachments WHERE deleted_at IS NOT NULL ORDER BY deleted_at, id LIMIT :limit::int

-- name: forget
DELETE FROM attachments
WHERE deleted_at IS NOT NULL AND id IN (SELECT jsonb_array_elements_text(:ids::jsonb)::uuid)
RETURNING 1 AS deleted
