-- name: add
INSERT INTO feedback (id, name, email, message, source, created_at)
VALUES (:id::uuid, :name::text, :email::text, :message::text, :source::text, :created_at::timestamptz)
ON CONFLICT (id) DO NOTHING

-- name: newest
SELECT id, name, email, message, source, created_at FROM feedback ORDER BY created_at DESC, id DESC LIMIT :limit::int

-- name: purge
DELETE FROM feedback WHERE id IN (
    SELECT id FROM feedback WHERE created_at < :before::timestamptz ORDER BY created_at LIMIT :limit::int)
RETURNING 1 AS deleted
