-- name: add
WITH gate AS MATERIALIZED (
    SELECT * FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int)
), checked AS MATERIALIZED (
    SELECT CASE WHEN verdict <> 'ok' THEN verdict
                WHEN EXISTS (SELECT FROM webhooks w WHERE w.trip_id = gate.trip_id AND w.url = :url::text)
                    THEN 'webhook_exists'
                WHEN locked_webhook_count(gate.trip_id) >= :max_webhooks::int THEN 'too_many_webhooks'
                ELSE 'ok' END AS verdict
    FROM gate
), stored AS (
    INSERT INTO webhooks (id, trip_id, url, events, is_enabled, created_by, created_at)
    SELECT :id::uuid, :trip_id::uuid, :url::text,
           (SELECT array_agg(value) FROM json_array_elements_text(:events::json)), true, :caller::uuid,
           :now::timestamptz
    FROM checked WHERE verdict = 'ok'
    ON CONFLICT (trip_id, url) DO NOTHING
    RETURNING id
)
SELECT CASE WHEN verdict = 'ok' AND NOT EXISTS (SELECT FROM stored) THEN 'webhook_exists' ELSE verdict END AS verdict
FROM checked

-- name: of
WITH gate AS MATERIALIZED (
    SELECT * FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int)
)
SELECT gate.verdict, w.id, w.url, to_json(w.events)::text AS events, w.is_enabled, w.disabled_reason, w.failing_since,
       w.created_at
FROM gate LEFT JOIN LATERAL (
    SELECT * FROM webhooks WHERE gate.verdict = 'ok' AND trip_id = gate.trip_id
    ORDER BY created_at DESC, id DESC LIMIT :limit::int
) w ON true
ORDER BY w.created_at DESC, w.id DESC

-- name: change
WITH gate AS MATERIALIZED (
    SELECT * FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int)
), found AS MATERIALIZED (
    SELECT w.* FROM gate
    JOIN webhooks w ON gate.verdict = 'ok' AND w.id = :id::uuid AND w.trip_id = gate.trip_id
    FOR UPDATE OF w
), checked AS MATERIALIZED (
    SELECT CASE WHEN gate.verdict <> 'ok' THEN gate.verdict
                WHEN found.id IS NULL THEN 'webhook_not_found'
                WHEN EXISTS (SELECT FROM webhooks w
                             WHERE w.trip_id = found.trip_id AND w.url = :url::text AND w.id <> found.id)
                    THEN 'webhook_exists'
                ELSE 'ok' END AS verdict
    FROM gate LEFT JOIN found ON true
), updated AS (
    UPDATE webhooks w
    SET url = coalesce(:url::text, w.url),
        events = coalesce((SELECT array_agg(value) FROM json_array_elements_text(:events::json)), w.events),
        is_enabled = coalesce(:is_enabled::boolean, w.is_enabled),
        -- A change of the switch by an admin ends the server's reason.
        disabled_reason = CASE WHEN :is_enabled::boolean IS NULL THEN w.disabled_reason END,
        failing_since = CASE WHEN :is_enabled::boolean THEN NULL ELSE w.failing_since END
    FROM found CROSS JOIN checked WHERE checked.verdict = 'ok' AND w.id = found.id
    RETURNING w.*
)
SELECT checked.verdict, w.id, w.url, to_json(w.events)::text AS events, w.is_enabled, w.disabled_reason,
       w.failing_since, w.created_at
FROM checked LEFT JOIN updated w ON true

-- name: delete
WITH gate AS MATERIALIZED (
    SELECT * FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int)
), deleted AS (
    DELETE FROM webhooks w USING gate
    WHERE gate.verdict = 'ok' AND w.id = :id::uuid AND w.trip_id = gate.trip_id RETURNING w.id
)
SELECT CASE WHEN verdict = 'ok' AND NOT EXISTS (SELECT FROM deleted) THEN 'webhook_not_found' ELSE verdict END AS verdict
FROM gate

-- name: log
WITH gate AS MATERIALIZED (
    SELECT * FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int)
), webhook AS MATERIALIZED (
    SELECT w.id FROM gate JOIN webhooks w ON gate.verdict = 'ok' AND w.id = :id::uuid AND w.trip_id = gate.trip_id
)
SELECT CASE WHEN gate.verdict = 'ok' AND webhook.id IS NULL THEN 'webhook_not_found' ELSE gate.verdict END AS verdict,
       d.id, d.event_id, d.event_type, d.created_at, d.status, d.attempts, d.attempted_at, d.reply_status, d.error,
       d.duration_ms
FROM gate LEFT JOIN webhook ON true
LEFT JOIN LATERAL (
    SELECT * FROM webhook_deliveries
    WHERE webhook_id = webhook.id
        AND (:after_at::timestamptz IS NULL OR (created_at, id) < (:after_at::timestamptz, :after_id::uuid))
    ORDER BY created_at DESC, id DESC LIMIT :limit::int
) d ON true
ORDER BY d.created_at DESC, d.id DESC

-- name: redeliver
-- Chosen deliveries, or those that failed in a span of time; not those that are waiting already.
WITH gate AS MATERIALIZED (
    SELECT * FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int)
), webhook AS MATERIALIZED (
    SELECT w.* FROM gate JOIN webhooks w ON gate.verdict = 'ok' AND w.id = :id::uuid AND w.trip_id = gate.trip_id
), checked AS MATERIALIZED (
    SELECT CASE WHEN gate.verdict <> 'ok' THEN gate.verdict
                WHEN webhook.id IS NULL THEN 'webhook_not_found'
                WHEN NOT webhook.is_enabled THEN 'webhook_disabled'
                ELSE 'ok' END AS verdict
    FROM gate LEFT JOIN webhook ON true
), chosen AS MATERIALIZED (
    SELECT d.id FROM checked CROSS JOIN webhook JOIN webhook_deliveries d ON d.webhook_id = webhook.id
    WHERE checked.verdict = 'ok' AND d.status <> 'pending'
        AND d.id IN (SELECT value::uuid FROM json_array_elements_text(:deliveries::json))
    UNION ALL
    SELECT * FROM (
        SELECT d.id FROM checked CROSS JOIN webhook JOIN webhook_deliveries d ON d.webhook_id = webhook.id
        WHERE checked.verdict = 'ok' AND d.status = 'failed'
            AND d.created_at >= :since::timestamptz AND d.created_at < :until::timestamptz
        ORDER BY d.created_at, d.id LIMIT :limit::int
    ) AS span
), updated AS (
    UPDATE webhook_deliveries d
    SET status = 'pending', round = d.round + 1, attempts = 0, attempted_at = NULL, reply_status = NULL, error = NULL,
        duration_ms = NULL
    FROM chosen WHERE d.id = chosen.id AND d.status <> 'pending'
    RETURNING d.id, d.round
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
    SELECT :event_id::uuid, 'webhook.redelivery_requested', 'trip-management-service', :trip_id::uuid, :caller::uuid,
           'internal', :now::timestamptz,
           jsonb_build_object('orders', (SELECT jsonb_agg(jsonb_build_object('delivery', id, 'round', round))
                                         FROM updated))
    WHERE EXISTS (SELECT FROM updated)
)
SELECT verdict, (SELECT count(*) FROM updated) AS count FROM checked

-- name: open
-- A repeat returns the same deliveries as long as none of them was attempted to the end.
WITH opened AS (
    INSERT INTO webhook_deliveries AS d (id, webhook_id, event_id, event_type, created_at, status)
    SELECT webhook_delivery_id(:event_id::uuid, w.id), w.id, :event_id::uuid, :type::text, :now::timestamptz, 'pending'
    FROM webhooks w
    WHERE w.trip_id = :trip_id::uuid AND w.is_enabled AND :type::text = ANY (w.events)
    ON CONFLICT (webhook_id, event_id) DO UPDATE SET event_type = excluded.event_type
    RETURNING d.id, d.round, d.status
)
SELECT id, round FROM opened WHERE status = 'pending'

-- name: due
SELECT d.id AS delivery_id, d.webhook_id, w.url, w.is_enabled, o.id, o.type, o.source, o.trip_id, o.actor_id,
       o.recipient_id, o.audience, o.occurred_at, o.payload::text AS payload
FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id
LEFT JOIN outbox o ON o.id = d.event_id AND o.audience = 'trip'
WHERE d.id = :id::uuid AND d.round = :round::int AND d.status <> 'delivered'

-- name: finish
-- The webhook is locked before its delivery, as when it is deleted. The event of a webhook that ends is addressed to its
-- creator, or to an owner of the trip if the creator left it.
WITH webhook AS MATERIALIZED (
    SELECT w.* FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id
    WHERE d.id = :id::uuid AND d.round = :round::int AND d.status <> 'delivered'
        AND (:status::text <> 'delivered' OR w.failing_since IS NOT NULL)
    FOR UPDATE OF w
), judged AS MATERIALIZED (
    SELECT *, CASE WHEN NOT is_enabled OR :status::text = 'delivered' THEN NULL
                   WHEN :is_gone::boolean THEN 'gone'
                   WHEN failing_since <= :failing_before::timestamptz THEN 'failing' END AS reason
    FROM webhook
), delivery AS (
    UPDATE webhook_deliveries d
    SET status = CASE WHEN judgement.reason IS NULL THEN :status::text ELSE 'failed' END, attempts = d.attempts + 1,
        attempted_at = :now::timestamptz, reply_status = :reply_status::int, error = :error::text,
        duration_ms = :duration_ms::int
    FROM (SELECT max(reason) AS reason FROM judged) AS judgement
    WHERE d.id = :id::uuid AND d.round = :round::int AND d.status <> 'delivered'
), updated AS (
    UPDATE webhooks w
    SET failing_since = CASE WHEN :status::text <> 'delivered' THEN coalesce(w.failing_since, :now::timestamptz) END,
        is_enabled = w.is_enabled AND judged.reason IS NULL,
        disabled_reason = coalesce(judged.reason, w.disabled_reason)
    FROM judged WHERE w.id = judged.id
    RETURNING w.is_enabled
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, audience, occurred_at, payload)
    SELECT :event_id::uuid, 'webhook.disabled', 'trip-management-service', judged.trip_id, 'internal',
           :now::timestamptz,
           jsonb_build_object('webhookId', judged.id, 'reason', judged.reason, 'userId', (
               SELECT m.user_id FROM trip_memberships m
               WHERE m.trip_id = judged.trip_id AND m.status = 'ACTIVE'
               ORDER BY m.user_id IS NOT DISTINCT FROM judged.created_by DESC, role_rank(m.role) DESC, m.user_id
               LIMIT 1))
    FROM judged WHERE judged.reason IS NOT NULL
    ON CONFLICT (id) DO NOTHING
    RETURNING id
)
SELECT coalesce((SELECT is_enabled FROM updated), true) AS is_enabled, EXISTS (SELECT FROM event) AS has_event

-- name: purge
DELETE FROM webhook_deliveries WHERE id IN (
    SELECT id FROM webhook_deliveries WHERE created_at < :before::timestamptz ORDER BY created_at LIMIT :limit::int)
RETURNING 1 AS deleted
