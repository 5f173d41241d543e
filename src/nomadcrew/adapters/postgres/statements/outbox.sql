-- name: pending
SELECT id, type, source, trip_id, actor_id, recipient_id, audience, occurred_at, payload::text AS payload
FROM outbox WHERE position IS NULL ORDER BY entered LIMIT :limit::int FOR UPDATE SKIP LOCKED

-- name: recipients
SELECT trip_id, user_id FROM trip_memberships
WHERE status = 'ACTIVE'
    AND trip_id IN (SELECT value::uuid FROM jsonb_array_elements_text(:trip_ids::jsonb))

-- name: publish
-- One publisher at a time: positions then follow the order in which they become visible.
WITH turn AS MATERIALIZED (
    SELECT pg_advisory_xact_lock(7206032)
), due AS (
    SELECT value::uuid AS id, ordinality FROM turn, jsonb_array_elements_text(:ids::jsonb) WITH ORDINALITY
), placed AS (
    SELECT due.id, nextval('outbox_position') AS position FROM (SELECT * FROM due ORDER BY ordinality) AS due
), published AS (
    UPDATE outbox o SET position = placed.position FROM placed WHERE o.id = placed.id AND o.position IS NULL
    RETURNING o.id
), sent AS (
    INSERT INTO queue_jobs (id, queue, body, enqueued_at, visible_at)
    SELECT job.id, job.queue, job.body, :now::timestamptz, :now::timestamptz
    FROM jsonb_to_recordset(:jobs::jsonb) AS job (id uuid, event_id uuid, queue text, body text)
    JOIN published ON published.id = job.event_id
    ON CONFLICT (id) DO NOTHING
)
SELECT count(*) AS count FROM published

-- name: place
-- As `publish`, for a publisher elsewhere: what is placed waits as unsent until that one says that it was told.
WITH turn AS MATERIALIZED (
    SELECT pg_advisory_xact_lock(7206032)
), due AS (
    SELECT o.id, o.entered FROM turn, outbox o WHERE o.position IS NULL
    ORDER BY o.entered LIMIT :limit::int FOR UPDATE OF o SKIP LOCKED
), placed AS (
    SELECT due.id, nextval('outbox_position') AS position FROM (SELECT id FROM due ORDER BY entered) AS due
), done AS (
    UPDATE outbox o SET position = placed.position, unsent_since = :now::timestamptz
    FROM placed WHERE o.id = placed.id
    RETURNING o.*
)
SELECT id, type, source, trip_id, actor_id, recipient_id, audience, occurred_at, payload::text AS payload
FROM done ORDER BY position

-- name: record
-- Events whose writes are stored elsewhere, placed as `publish` does, at the end of those that are placed by then.
WITH turn AS MATERIALIZED (
    SELECT pg_advisory_xact_lock(7206032)
), given AS MATERIALIZED (
    SELECT e.* FROM turn, jsonb_to_recordset(:events::jsonb) AS e (
        n int, id uuid, type text, source text, trip_id uuid, actor_id uuid, recipient_id uuid, audience text,
        occurred_at timestamptz, payload jsonb)
    ORDER BY n
), scrubbed AS (
    UPDATE outbox o
    SET payload = jsonb_set(jsonb_set(o.payload, '{content}', to_jsonb(:tombstone::text)), '{message,content}',
                            to_jsonb(:tombstone::text)) #- '{attachment}' #- '{message,attachment}'
    FROM given
    WHERE given.type = 'CHAT_MESSAGE_DELETED' AND o.trip_id = given.trip_id AND o.position IS NOT NULL
        AND o.audience = 'trip' AND o.type IN ('CHAT_MESSAGE_SENT', 'CHAT_MESSAGE_EDITED')
        AND o.payload ->> 'messageId' = given.payload ->> 'messageId'
)
INSERT INTO outbox (id, type, source, trip_id, actor_id, recipient_id, audience, occurred_at, payload, position)
SELECT id, type, source, trip_id, actor_id, recipient_id, audience, occurred_at, payload, nextval('outbox_position')
FROM given
ON CONFLICT (id) DO NOTHING
RETURNING 1 AS placed

-- name: unsent
-- Whoever gets them has them to themselves for as long as anybody waits before asking again.
WITH due AS (
    SELECT id FROM outbox WHERE unsent_since <= :before::timestamptz
    ORDER BY unsent_since LIMIT :limit::int FOR UPDATE SKIP LOCKED
), done AS (
    UPDATE outbox o SET unsent_since = :now::timestamptz FROM due WHERE o.id = due.id
    RETURNING o.*
)
SELECT id, type, source, trip_id, actor_id, recipient_id, audience, occurred_at, payload::text AS payload
FROM done ORDER BY position

-- name: sent
UPDATE outbox SET unsent_since = NULL
WHERE id IN (SELECT value::uuid FROM jsonb_array_elements_text(:ids::jsonb))

-- name: behind
SELECT EXISTS (SELECT FROM outbox WHERE position IS NULL)
    OR EXISTS (SELECT FROM outbox WHERE unsent_since IS NOT NULL) AS behind

-- name: published
SELECT id FROM outbox
WHERE id IN (SELECT value::uuid FROM jsonb_array_elements_text(:ids::jsonb)) AND position IS NOT NULL

-- name: after
WITH me AS MATERIALIZED (
    SELECT id FROM user_profiles WHERE id = :caller::uuid
), cursor AS MATERIALIZED (
    -- An event whose position is still to be given has nothing after it yet.
    SELECT coalesce(position, 9223372036854775807) AS position FROM outbox WHERE id = :cursor::uuid
), mine AS MATERIALIZED (
    SELECT m.trip_id, m.joined_at, t.deleted_at IS NOT NULL AS deleted
    FROM trip_memberships m JOIN trips t ON t.id = m.trip_id
    WHERE m.user_id = :caller::uuid AND m.status = 'ACTIVE'
), found AS (
    SELECT o.* FROM mine CROSS JOIN LATERAL (
        SELECT * FROM outbox
        WHERE trip_id = mine.trip_id AND audience = 'trip' AND occurred_at >= mine.joined_at
            AND position > coalesce((SELECT position FROM cursor), 0)
            AND (NOT mine.deleted OR type = 'TRIP_DELETED')
        ORDER BY position LIMIT :limit::int
    ) o
    UNION
    SELECT * FROM (
        SELECT * FROM outbox
        WHERE recipient_id = :caller::uuid AND position > coalesce((SELECT position FROM cursor), 0)
        ORDER BY position LIMIT :limit::int
    ) AS personal
)
SELECT CASE WHEN :cursor::uuid IS NOT NULL AND NOT EXISTS (SELECT FROM cursor) THEN 'unknown_cursor'
            ELSE 'ok' END AS verdict,
       found.id, found.type, found.source, found.trip_id, found.actor_id, found.recipient_id, found.audience,
       found.occurred_at, found.payload::text AS payload
FROM me LEFT JOIN LATERAL (SELECT * FROM found ORDER BY position LIMIT :limit::int) AS found ON true
ORDER BY found.position

-- name: lag
SELECT count(*) AS pending, coalesce(extract(epoch FROM :now::timestamptz - min(occurred_at)), 0)::float8 AS oldest_s
FROM outbox WHERE position IS NULL

-- name: purge
DELETE FROM outbox WHERE id IN (
    SELECT id FROM outbox WHERE occurred_at < :before::timestamptz AND position IS NOT NULL AND unsent_since IS NULL
    ORDER BY occurred_at LIMIT :limit::int)
RETURNING 1 AS gone
