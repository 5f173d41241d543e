-- name: register
-- The token is freed first: a phone has one active row. Without a profile the phone waits for one.
WITH caller AS MATERIALIZED (
    SELECT id, free_push_token(id, :token::text, :max_tokens::int, :now::timestamptz) AS freed
    FROM user_profiles WHERE id = :caller::uuid
), stored AS (
    INSERT INTO user_push_tokens AS t
        (id, user_id, token, device_type, is_active, created_at, updated_at, last_used_at)
    SELECT :id::uuid, caller.id, :token::text, :device_type::text, true, :now::timestamptz, :now::timestamptz,
           :now::timestamptz
    FROM caller WHERE caller.freed >= 0
    ON CONFLICT (user_id, token) DO UPDATE
    SET device_type = excluded.device_type, is_active = true, updated_at = excluded.updated_at,
        last_used_at = excluded.last_used_at
    RETURNING *
), waiting AS (
    INSERT INTO waiting_push_tokens AS w (user_id, token, id, device_type, created_at)
    SELECT :caller::uuid, :token::text, :id::uuid, :device_type::text, :now::timestamptz
    WHERE NOT EXISTS (SELECT FROM caller)
        AND (SELECT count(*) FROM waiting_push_tokens
             WHERE user_id = :caller::uuid AND token <> :token::text) < :max_tokens::int
    ON CONFLICT (user_id, token) DO UPDATE SET device_type = excluded.device_type, created_at = excluded.created_at
    RETURNING *
)
SELECT id, user_id, token, device_type, is_active, created_at, updated_at, last_used_at FROM stored
UNION ALL
SELECT id, user_id, token, device_type, true, created_at, created_at, created_at FROM waiting

-- name: deactivate
WITH deactivated AS (
    UPDATE user_push_tokens SET is_active = false, updated_at = :now::timestamptz
    WHERE user_id = :caller::uuid AND is_active AND (:token::text IS NULL OR token = :token::text)
    RETURNING id
)
SELECT caller.id, (SELECT count(*)
FROM deactivated) AS count FROM user_profiles caller WHERE caller.id = :caller::uuid

-- name: claim
-- A concurrent call waits for the first one's rows and then finds them claimed.
WITH due AS MATERIALIZED (
    SELECT t.id, t.user_id, t.token FROM user_push_tokens t
    WHERE t.is_active
        AND t.user_id IN (SELECT value::uuid FROM jsonb_array_elements_text(:people::jsonb))
        AND NOT EXISTS (SELECT FROM push_sends s
                        WHERE s.push_id = :push_id::uuid AND s.token_id = t.id AND s.sent_at IS NOT NULL)
), claimed AS (
    INSERT INTO push_sends AS s (push_id, token_id, claimed_until)
    SELECT :push_id::uuid, id, :until::timestamptz FROM due ORDER BY id
    ON CONFLICT (push_id, token_id) DO UPDATE SET claimed_until = excluded.claimed_until
    WHERE s.sent_at IS NULL AND s.claimed_until <= :now::timestamptz
    RETURNING token_id
)
SELECT due.id, due.user_id, due.token, claimed.token_id IS NOT NULL AS is_ours
FROM due LEFT JOIN claimed ON claimed.token_id = due.id
ORDER BY due.id

-- name: release
DELETE FROM push_sends
WHERE push_id = :push_id::uuid AND sent_at IS NULL
    AND token_id IN (SELECT value::uuid FROM jsonb_array_elements_text(:ids::jsonb))

-- name: sent
WITH result AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(:results::jsonb) AS r (token_id uuid, ticket text)
), recorded AS (
    UPDATE push_sends s SET sent_at = :now::timestamptz, ticket = result.ticket
    FROM result WHERE s.push_id = :push_id::uuid AND s.token_id = result.token_id AND s.sent_at IS NULL
)
UPDATE user_push_tokens SET last_used_at = :now::timestamptz
WHERE id IN (SELECT token_id FROM result WHERE ticket IS NOT NULL)

-- name: forget
-- By token value, so that all users who ever registered the phone are covered.
UPDATE user_push_tokens SET is_active = false, updated_at = :now::timestamptz
WHERE is_active AND token IN (
    SELECT t.token FROM user_push_tokens t
    WHERE t.id IN (SELECT value::uuid FROM jsonb_array_elements_text(:ids::jsonb)))

-- name: tickets
SELECT ticket, token_id FROM push_sends WHERE push_id = :push_id::uuid AND ticket IS NOT NULL ORDER BY token_id

-- name: purge_tokens
DELETE FROM user_push_tokens WHERE id IN (
    SELECT id FROM user_push_tokens WHERE NOT is_active AND updated_at < :before::timestamptz
    ORDER BY updated_at LIMIT :limit::int)
RETURNING 1 AS deleted

-- name: purge_waiting
DELETE FROM waiting_push_tokens WHERE (user_id, token) IN (
    SELECT user_id, token FROM waiting_push_tokens WHERE created_at < :before::timestamptz
    ORDER BY created_at LIMIT :limit::int)
RETURNING 1 AS deleted

-- name: purge_sends
DELETE FROM push_sends WHERE (push_id, token_id) IN (
    SELECT push_id, token_id FROM push_sends WHERE claimed_until < :before::timestamptz
    ORDER BY claimed_until LIMIT :limit::int)
RETURNING 1 AS deleted
