-- name: register
-- The other owners' rows and the oldest of the caller's go first: the insert waits for what they return.
WITH me AS MATERIALIZED (
    SELECT id FROM user_profiles WHERE id = :caller::uuid
), others AS (
    UPDATE user_push_tokens t SET is_active = false, updated_at = :now::timestamptz
    FROM me WHERE t.token = :token::text AND t.user_id <> me.id AND t.is_active
    RETURNING t.id
), crowd AS (
    UPDATE user_push_tokens t SET is_active = false, updated_at = :now::timestamptz
    WHERE t.id IN (
        SELECT mine.id FROM me JOIN user_push_tokens mine ON mine.user_id = me.id
        WHERE mine.is_active AND mine.token <> :token::text
        ORDER BY mine.last_used_at DESC NULLS LAST, mine.id DESC OFFSET :most::int - 1)
    RETURNING t.id
), kept AS (
    INSERT INTO user_push_tokens AS t
        (id, user_id, token, device_type, is_active, created_at, updated_at, last_used_at)
    SELECT :id::uuid, me.id, :token::text, :device_type::text, true, :now::timestamptz, :now::timestamptz,
           :now::timestamptz
    FROM me, (SELECT count(*) FROM others) AS freed, (SELECT count(*) FROM crowd) AS made_room
    ON CONFLICT (user_id, token) DO UPDATE
    SET device_type = excluded.device_type, is_active = true, updated_at = excluded.updated_at,
        last_used_at = excluded.last_used_at
    RETURNING *
)
SELECT id, user_id, token, device_type, is_active, created_at, updated_at, last_used_at FROM kept

-- name: deactivate
WITH gone AS (
    UPDATE user_push_tokens SET is_active = false, updated_at = :now::timestamptz
    WHERE user_id = :caller::uuid AND is_active AND (:token::text IS NULL OR token = :token::text)
    RETURNING id
)
SELECT me.id, (SELECT count(*) FROM gone) AS count FROM user_profiles me WHERE me.id = :caller::uuid

-- name: claim
-- Whoever comes at the same time waits for the row of the first, and then finds it claimed.
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
), noted AS (
    UPDATE push_sends s SET sent_at = :now::timestamptz, ticket = result.ticket
    FROM result WHERE s.push_id = :push_id::uuid AND s.token_id = result.token_id AND s.sent_at IS NULL
)
UPDATE user_push_tokens SET last_used_at = :now::timestamptz
WHERE id IN (SELECT token_id FROM result WHERE ticket IS NOT NULL)

-- name: forget
-- By what the phone is called, so that nobody who ever had it is pushed to.
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
RETURNING 1 AS gone

-- name: purge_sends
DELETE FROM push_sends WHERE (push_id, token_id) IN (
    SELECT push_id, token_id FROM push_sends WHERE claimed_until < :before::timestamptz
    ORDER BY claimed_until LIMIT :limit::int)
RETURNING 1 AS gone
