-- name: recipients
SELECT trip_id, user_id FROM trip_memberships
WHERE status = 'ACTIVE'
    AND trip_id IN (SELECT value::uuid FROM jsonb_array_elements_text(:trip_ids::jsonb))

-- name: publish
-- Events get their positions, oldest first, and their consumers get jobs. One publisher at a time, so that events become
-- visible in the order of their positions.
WITH publish_lock AS MATERIALIZED (
    SELECT pg_advisory_xact_lock(7206032)
), due AS (
    SELECT o.id, o.entered FROM publish_lock, outbox o WHERE o.position IS NULL
    ORDER BY o.entered LIMIT :limit::int FOR UPDATE OF o SKIP LOCKED
), positioned AS (
    SELECT due.id, nextval('outbox_position') AS position FROM (SELECT id FROM due ORDER BY entered) AS due
), published AS (
    UPDATE outbox o SET position = positioned.position FROM positioned WHERE o.id = positioned.id
    RETURNING o.id, o.type, o.source, o.trip_id, o.actor_id, o.recipient_id, o.audience, o.occurred_at,
              o.payload::text AS payload, o.position
), consumer AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(:consumers::jsonb) AS c (type text, queue text, is_passing boolean, is_hook boolean)
), passing AS MATERIALIZED (
    -- Notifications of these events reach sockets only, so they get no job.
    SELECT p.id FROM published p JOIN consumer ON consumer.type = p.type AND consumer.is_passing
    WHERE NOT (:pushes::boolean AND EXISTS (
        SELECT FROM trip_memberships m
        JOIN user_push_tokens phone ON phone.user_id = m.user_id AND phone.is_active
        WHERE m.trip_id = p.trip_id AND m.status = 'ACTIVE' AND m.user_id IS DISTINCT FROM p.actor_id))
), queued AS (
    INSERT INTO queue_jobs (id, queue, body, enqueued_at, visible_at)
    SELECT encode(set_byte(set_byte(hash, 6, get_byte(hash, 6) & 15 | 128), 8, get_byte(hash, 8) & 63 | 128),
                  'hex')::uuid,
           consumer.queue,
           json_build_object(
               'id', p.id, 'type', p.type, 'source', p.source, 'trip_id', p.trip_id, 'actor_id', p.actor_id,
               'recipient_id', p.recipient_id, 'audience', p.audience, 'occurred_at', utc_text(p.occurred_at),
               'payload', p.payload)::text,
           :now::timestamptz, :now::timestamptz
    FROM published p
    JOIN consumer ON consumer.type = p.type
    -- The id that `job_id` derives.
    CROSS JOIN LATERAL (
        SELECT substring(sha256(uuid_send(p.id) || convert_to(consumer.queue, 'UTF8')) FOR 16) AS hash) AS derived
    WHERE (NOT consumer.is_passing OR p.id NOT IN (SELECT id FROM passing))
        AND (NOT consumer.is_hook OR EXISTS (
            SELECT FROM webhooks w WHERE w.trip_id = p.trip_id AND w.is_enabled AND p.type = ANY (w.events)))
    ON CONFLICT (id) DO NOTHING
    RETURNING queue
)
SELECT p.*, (SELECT jsonb_agg(DISTINCT queue)::text FROM queued) AS queues, p.id IN (SELECT id FROM passing) AS is_passing,
       CASE WHEN :with_members::boolean AND audience = 'trip'
                AND row_number() OVER (PARTITION BY trip_id, audience ORDER BY position) = 1
            THEN (SELECT jsonb_agg(m.user_id)::text FROM trip_memberships m
                  WHERE m.trip_id = p.trip_id AND m.status = 'ACTIVE') END AS members
FROM published p
ORDER BY position

-- name: last_position
SELECT coalesce(max(position), 0) AS position FROM outbox

-- name: wait_for_publishers
-- Once it returns, the publishers that were at work have committed or failed.
SELECT pg_advisory_xact_lock(7206032)

-- name: published_between
SELECT id, type, source, trip_id, actor_id, recipient_id, audience, occurred_at, payload::text AS payload, position
FROM outbox
WHERE position > :after::bigint AND (:before::bigint IS NULL OR position < :before::bigint)
ORDER BY position LIMIT :limit::int

-- name: place
-- As `publish`, for a publisher outside the database: events stay marked as unsent until it reports them sent.
WITH publish_lock AS MATERIALIZED (
    SELECT pg_advisory_xact_lock(7206032)
), due AS (
    SELECT o.id, o.entered FROM publish_lock, outbox o WHERE o.position IS NULL
    ORDER BY o.entered LIMIT :limit::int FOR UPDATE OF o SKIP LOCKED
), positioned AS (
    SELECT due.id, nextval('outbox_position') AS position FROM (SELECT id FROM due ORDER BY entered) AS due
), published AS (
    UPDATE outbox o SET position = positioned.position, unsent_since = :now::timestamptz
    FROM positioned WHERE o.id = positioned.id
    RETURNING o.*
)
SELECT id, type, source, trip_id, actor_id, recipient_id, audience, occurred_at, payload::text AS payload
FROM published ORDER BY position

-- name: record
-- Events whose data is stored elsewhere; they get the next positions, as in `publish`.
WITH publish_lock AS MATERIALIZED (
    SELECT pg_advisory_xact_lock(7206032)
), input AS MATERIALIZED (
    SELECT e.* FROM publish_lock, jsonb_to_recordset(:events::jsonb) AS e (
        n int, id uuid, type text, source text, trip_id uuid, actor_id uuid, recipient_id uuid, audience text,
        occurred_at timestamptz, payload jsonb)
    ORDER BY n
), redacted AS (
    UPDATE outbox o
    SET payload = jsonb_set(jsonb_set(o.payload, '{content}', to_jsonb(:tombstone::text)), '{message,content}',
                            to_jsonb(:tombstone::text)) #- '{attachment}' #- '{message,attachment}'
    FROM input
    WHERE input.type = 'CHAT_MESSAGE_DELETED' AND o.trip_id = input.trip_id AND o.position IS NOT NULL
        AND o.audience = 'trip' AND o.type IN ('CHAT_MESSAGE_SENT', 'CHAT_MESSAGE_EDITED')
        AND o.payload ->> 'messageId' = input.payload ->> 'messageId'
), changed AS (
    -- A chat that is stored elsewhere has no triggers here.
    INSERT INTO sync_changes (scope_id, kind, entity_id, written)
    SELECT DISTINCT trip_id, kind, entity, pg_current_xact_id() FROM (
        SELECT trip_id, 'message' AS kind, (payload ->> 'messageId')::uuid AS entity FROM input
        WHERE type IN ('CHAT_MESSAGE_SENT', 'CHAT_MESSAGE_EDITED', 'CHAT_MESSAGE_DELETED', 'CHAT_REACTION_ADDED',
                       'CHAT_REACTION_REMOVED')
        UNION ALL
        SELECT trip_id, 'receipt', actor_id FROM input WHERE type = 'CHAT_READ_RECEIPT'
    ) AS noted
    ORDER BY trip_id, kind, entity
    ON CONFLICT (scope_id, kind, entity_id) DO UPDATE SET written = excluded.written
)
INSERT INTO outbox (id, type, source, trip_id, actor_id, recipient_id, audience, occurred_at, payload, position)
SELECT id, type, source, trip_id, actor_id, recipient_id, audience, occurred_at, payload, nextval('outbox_position')
FROM input
ON CONFLICT (id) DO NOTHING
RETURNING 1 AS recorded

-- name: unsent
-- The update hides the events from other publishers until the same waiting time has passed again.
WITH due AS (
    SELECT id FROM outbox WHERE unsent_since <= :before::timestamptz
    ORDER BY unsent_since LIMIT :limit::int FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE outbox o SET unsent_since = :now::timestamptz FROM due WHERE o.id = due.id
    RETURNING o.*
)
SELECT id, type, source, trip_id, actor_id, recipient_id, audience, occurred_at, payload::text AS payload
FROM claimed ORDER BY position

-- name: sent
UPDATE outbox SET unsent_since = NULL
WHERE id IN (SELECT value::uuid FROM jsonb_array_elements_text(:ids::jsonb))

-- name: behind
SELECT EXISTS (SELECT FROM outbox WHERE position IS NULL)
    OR EXISTS (SELECT FROM outbox WHERE unsent_since IS NOT NULL) AS behind

-- name: after
WITH caller AS MATERIALIZED (
    SELECT id FROM user_profiles WHERE id = :caller::uuid
), cursor AS MATERIALIZED (
    -- An event without a position has no events after it yet.
    SELECT coalesce(position, 9223372036854775807) AS position FROM outbox WHERE id = :cursor::uuid
), membership AS MATERIALIZED (
    SELECT m.trip_id, m.joined_at, t.deleted_at IS NOT NULL AS deleted
    FROM trip_memberships m JOIN trips t ON t.id = m.trip_id
    WHERE m.user_id = :caller::uuid AND m.status = 'ACTIVE'
), matches AS (
    SELECT o.* FROM membership CROSS JOIN LATERAL (
        SELECT * FROM outbox
        WHERE trip_id = membership.trip_id AND audience = 'trip' AND occurred_at >= membership.joined_at
            AND position > coalesce((SELECT position FROM cursor), 0)
            AND (NOT membership.deleted OR type = 'TRIP_DELETED')
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
       matches.id, matches.type, matches.source, matches.trip_id, matches.actor_id, matches.recipient_id,
       matches.audience,
       matches.occurred_at, matches.payload::text AS payload
FROM caller LEFT JOIN LATERAL (SELECT * FROM matches ORDER BY position LIMIT :limit::int) AS matches ON true
ORDER BY matches.position

-- name: lag
SELECT count(*) AS pending,
       coalesce(extract(epoch FROM :now::timestamptz - min(occurred_at)), 0)::float8 AS oldest_s
FROM outbox WHERE position IS NULL

-- name: purge
DELETE FROM outbox WHERE id IN (
    SELECT id FROM outbox WHERE occurred_at < :before::timestamptz AND position IS NOT NULL AND unsent_since IS NULL
    ORDER BY occurred_at LIMIT :limit::int)
RETURNING 1 AS deleted
