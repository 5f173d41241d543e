-- name: record
INSERT INTO job_runs AS r (job, started_at, finished_at, count, error, failed_at)
VALUES (:job::text, :started_at::timestamptz, :finished_at::timestamptz, :count::int, :error::text,
        CASE WHEN :error::text IS NOT NULL THEN :finished_at::timestamptz END)
ON CONFLICT (job) DO UPDATE
SET started_at = excluded.started_at, finished_at = excluded.finished_at, count = excluded.count,
    error = coalesce(excluded.error, r.error), failed_at = coalesce(excluded.failed_at, r.failed_at)
WHERE r.started_at <= excluded.started_at

-- name: last
SELECT job, started_at, finished_at, count, error, failed_at FROM job_runs ORDER BY job
