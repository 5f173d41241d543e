-- name: find
SELECT p.id, p.email, p.username, p.first_name, p.last_name, p.avatar_url, p.contact_email,
       p.location_privacy_preference, p.preferences, p.created_at, p.updated_at, a.is_admin,
       a.confirmed_at IS NOT NULL AS confirmed, a.totp_confirmed_at IS NOT NULL AS has_totp
FROM identities i JOIN accounts a ON a.user_id = i.user_id JOIN user_profiles p ON p.id = i.user_id
WHERE i.provider = :provider::text AND i.subject = :subject::text

-- name: spend_nonce
INSERT INTO spent_nonces (id, expires_at) VALUES (:id::uuid, :expires_at::timestamptz)
ON CONFLICT (id) DO NOTHING RETURNING id

-- name: link
WITH present AS MATERIALIZED (
    SELECT i.user_id = :user_id::uuid AND i.subject = :subject::text AS is_it FROM identities i
    WHERE i.provider = :provider::text AND (i.subject = :subject::text OR i.user_id = :user_id::uuid)
), linked AS (
    INSERT INTO identities (provider, subject, user_id, created_at)
    SELECT :provider::text, :subject::text, a.user_id, :now::timestamptz
    FROM accounts a WHERE a.user_id = :user_id::uuid AND NOT EXISTS (SELECT FROM present)
    RETURNING user_id
), event AS (
    INSERT INTO outbox (id, type, source, actor_id, audience, occurred_at, payload)
    SELECT gen_random_uuid(), 'account.changed', 'nomadcrew.identity', user_id, 'internal', :now::timestamptz,
           jsonb_build_object('user_id', user_id, 'change', 'identity_linked')
    FROM linked
)
SELECT EXISTS (SELECT FROM linked) OR coalesce((SELECT bool_and(is_it) FROM present), false) AS is_linked

-- name: unlink
-- The lock on the account keeps two removals at once from leaving no way to sign in.
WITH account AS MATERIALIZED (
    SELECT user_id, has_password FROM accounts WHERE user_id = :user_id::uuid FOR UPDATE
), checked AS MATERIALIZED (
    SELECT account.user_id,
           CASE WHEN NOT EXISTS (SELECT FROM identities i
                                 WHERE i.user_id = account.user_id AND i.provider = :provider::text)
                    THEN 'identity_not_found'
                WHEN NOT account.has_password AND identity_count(account.user_id) < 2 THEN 'last_sign_in'
                ELSE 'ok' END AS verdict
    FROM (SELECT 1) AS always LEFT JOIN account ON true
), unlinked AS (
    DELETE FROM identities i USING checked
    WHERE checked.verdict = 'ok' AND i.user_id = checked.user_id AND i.provider = :provider::text
    RETURNING i.user_id
), event AS (
    INSERT INTO outbox (id, type, source, actor_id, audience, occurred_at, payload)
    SELECT gen_random_uuid(), 'account.changed', 'nomadcrew.identity', user_id, 'internal', :now::timestamptz,
           jsonb_build_object('user_id', user_id, 'change', 'identity_unlinked')
    FROM unlinked
)
SELECT verdict FROM checked

-- name: list
SELECT provider, created_at FROM identities WHERE user_id = :user_id::uuid ORDER BY provider

-- name: purge_nonces
DELETE FROM spent_nonces WHERE id IN (
    SELECT id FROM spent_nonces WHERE expires_at < :now::timestamptz ORDER BY expires_at LIMIT :limit::int)
RETURNING 1 AS deleted
