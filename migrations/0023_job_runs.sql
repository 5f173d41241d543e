-- The last run of each scheduled job, and its last error.
CREATE TABLE job_runs (
    job         text PRIMARY KEY,
    started_at  timestamptz NOT NULL,
    finished_at timestamptz NOT NULL,
    count       integer NOT NULL,
    error       text,
    failed_at   timestamptz
);
