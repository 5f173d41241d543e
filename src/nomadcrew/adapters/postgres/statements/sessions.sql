-- name: open
WITH session AS (
    INSERT INTO sessions (id, user_id, user_agent, created_at, expires_at)
    VALUES (:id::uuid, :user_id::uuid, :user_agent::text, :now::timestamptz, :expires_at::timestamptz)
    RETURNING id
)
INSERT INTO refresh_tokens (hash, session_id, issued_at, expires_at)
SELECT :hash::bytea, id, :now::timestamptz, :expires_at::timestamptz FROM session

-- name: rotate
WITH token AS MATERIALIZED (
    -- The locks serialise exchanges of one token, so that one exchange spends it and the others see it spent.
    SELECT r.session_id, r.expires_at, r.spent_at, s.user_id, s.revoked_at
    FROM refresh_tokens r JOIN sessions s ON s.id = r.session_id
    WHERE r.hash = :spent::bytea
    FOR UPDATE OF r, s
), checked AS MATERIALIZED (
    SELECT token.session_id, token.user_id,
           CASE WHEN a.user_id IS NULL OR token.revoked_at IS NOT NULL OR token.expires_at <= :now::timestamptz
                    THEN 'invalid'
                WHEN token.spent_at IS NULL THEN 'ok'
                WHEN token.spent_at <= :grace_since::timestamptz THEN 'reused'
                -- A repeat gets the token of the first exchange; the keys that derive it may have changed.
                WHEN refresh_token_exists(:fresh::bytea) THEN 'ok'
                ELSE 'invalid' END AS verdict
    FROM token LEFT JOIN accounts a ON a.user_id = token.user_id
), updated_token AS (
    UPDATE refresh_tokens r SET spent_at = :now::timestamptz FROM checked
    WHERE checked.verdict = 'ok' AND r.hash = :spent::bytea AND r.spent_at IS NULL
), new_token AS (
    INSERT INTO refresh_tokens (hash, session_id, issued_at, expires_at)
    SELECT :fresh::bytea, session_id, :now::timestamptz, :expires_at::timestamptz
    FROM checked WHERE verdict = 'ok'
    ON CONFLICT (hash) DO NOTHING
), updated_session AS (
    UPDATE sessions s
    SET expires_at = CASE WHEN checked.verdict = 'ok' THEN :expires_at::timestamptz ELSE s.expires_at END,
        refreshed_at = CASE WHEN checked.verdict = 'ok' THEN :now::timestamptz ELSE s.refreshed_at END,
        revoked_at = CASE WHEN checked.verdict = 'reused' THEN :now::timestamptz ELSE s.revoked_at END
    FROM checked WHERE checked.verdict IN ('ok', 'reused') AND s.id = checked.session_id
)
SELECT checked.verdict, checked.session_id, a.is_admin, a.confirmed_at IS NOT NULL AS confirmed, p.id, p.email,
       p.username,
       p.first_name, p.last_name, p.avatar_url, p.contact_email, p.location_privacy_preference, p.preferences,
       p.created_at, p.updated_at
FROM checked
LEFT JOIN accounts a ON a.user_id = checked.user_id
LEFT JOIN user_profiles p ON p.id = checked.user_id

-- name: close
UPDATE sessions s SET revoked_at = coalesce(s.revoked_at, :now::timestamptz)
FROM refresh_tokens r WHERE r.hash = :hash::bytea AND s.id = r.session_id
RETURNING s.id

-- name: list_open
SELECT id, user_agent, created_at, coalesce(refreshed_at, created_at) AS last_used_at, expires_at
FROM sessions
WHERE user_id = :user_id::uuid AND revoked_at IS NULL AND expires_at > :now::timestamptz
ORDER BY last_used_at DESC, id DESC LIMIT :limit::int

-- name: end
UPDATE sessions SET revoked_at = :now::timestamptz
WHERE id = :id::uuid AND user_id = :user_id::uuid AND revoked_at IS NULL
RETURNING id

-- name: end_others
UPDATE sessions SET revoked_at = :now::timestamptz
WHERE user_id = :user_id::uuid AND id IS DISTINCT FROM :kept::uuid AND revoked_at IS NULL
RETURNING id

-- name: ended_since
SELECT id FROM sessions WHERE revoked_at > :since::timestamptz

-- name: forget_expired_tokens
DELETE FROM refresh_tokens WHERE hash IN (
    SELECT hash FROM refresh_tokens WHERE expires_at < :before::timestamptz ORDER BY expires_at LIMIT :limit::int)
RETURNING 1 AS deleted

-- name: forget_expired_sessions
DELETE FROM sessions WHERE id IN (
    SELECT id FROM sessions WHERE expires_at < :before::timestamptz ORDER BY expires_at LIMIT :limit::int)
RETURNING 1 AS deleted
