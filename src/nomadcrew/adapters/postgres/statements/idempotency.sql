-- name: claim
-- Waits for a concurrent transaction with the same key, and then finds its stored reply.
INSERT INTO replays AS r (key, request_hash, expires_at)
VALUES (:key::bytea, :request_hash::bytea, :expires_at::timestamptz)
ON CONFLICT (key) DO UPDATE
SET request_hash = excluded.request_hash, expires_at = excluded.expires_at, result_id = NULL, status = NULL,
    body = NULL
WHERE r.expires_at <= :now::timestamptz
RETURNING 1 AS claimed

-- name: kept
SELECT request_hash, status, body FROM replays WHERE key = :key::bytea

-- name: keep
UPDATE replays SET status = :status::int, body = :body::bytea WHERE key = :key::bytea

-- name: purge
DELETE FROM replays WHERE key IN (
    SELECT key FROM replays WHERE expires_at < :now::timestamptz ORDER BY expires_at LIMIT :limit::int
    FOR UPDATE SKIP LOCKED)
RETURNING 1 AS deleted
