-- name: send
INSERT INTO queue_jobs (id, queue, body, enqueued_at, visible_at)
SELECT id, queue, body, enqueued_at, visible_at
FROM jsonb_to_recordset(:jobs::jsonb) AS job (
    id uuid, queue text, body text, enqueued_at timestamptz, visible_at timestamptz)
ORDER BY id
ON CONFLICT (id) DO NOTHING

-- name: receive
WITH due AS (
    SELECT id FROM queue_jobs
    WHERE queue = :queue::text AND visible_at <= :now::timestamptz AND dead_at IS NULL
    ORDER BY visible_at LIMIT :limit::int FOR UPDATE SKIP LOCKED
), exhausted AS (
    -- A job whose last delivery was neither acknowledged nor failed, as after a crash, has no attempt left.
    UPDATE queue_jobs j SET dead_at = :now::timestamptz, last_error = coalesce(last_error, :no_answer::text)
    FROM due WHERE j.id = due.id AND j.attempts >= :max_attempts::int
)
UPDATE queue_jobs j
SET attempts = j.attempts + 1, visible_at = :visible_at::timestamptz
FROM due WHERE j.id = due.id AND j.attempts < :max_attempts::int
RETURNING j.id, j.queue, j.body, j.attempts, j.enqueued_at

-- name: ack
DELETE FROM queue_jobs q USING jsonb_to_recordset(:jobs::jsonb) AS acknowledged (id uuid, attempt int)
WHERE q.id = acknowledged.id AND q.attempts = acknowledged.attempt AND q.dead_at IS NULL

-- name: fail
UPDATE queue_jobs
SET visible_at = :visible_at::timestamptz, last_error = :reason::text,
    dead_at = CASE WHEN :final::boolean OR attempts >= :max_attempts::int THEN :now::timestamptz END
WHERE id = :id::uuid AND attempts = :attempt::int AND dead_at IS NULL

-- name: depths
SELECT queue,
       count(*) FILTER (WHERE dead_at IS NULL AND visible_at <= :now::timestamptz) AS waiting,
       count(*) FILTER (WHERE dead_at IS NULL AND visible_at > :now::timestamptz) AS in_flight,
       count(*) FILTER (WHERE dead_at IS NOT NULL) AS dead,
       coalesce(extract(epoch FROM :now::timestamptz - min(enqueued_at) FILTER (WHERE dead_at IS NULL)), 0)::float8
           AS oldest_s
FROM queue_jobs GROUP BY queue ORDER BY queue

-- name: dead
SELECT id, queue, body, attempts, enqueued_at, coalesce(last_error, '') AS last_error
FROM queue_jobs WHERE dead_at IS NOT NULL AND (:queue::text IS NULL OR queue = :queue::text)
ORDER BY dead_at DESC LIMIT :limit::int

-- name: redrive
UPDATE queue_jobs SET dead_at = NULL, attempts = 0, visible_at = :now::timestamptz
WHERE queue = :queue::text AND dead_at IS NOT NULL AND (:id::uuid IS NULL OR id = :id::uuid)
RETURNING id

-- name: purge_dead
DELETE FROM queue_jobs WHERE id IN (
    SELECT id FROM queue_jobs WHERE dead_at < :before::timestamptz LIMIT :limit::int)
RETURNING 1 AS deleted
