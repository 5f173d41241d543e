-- name: add
WITH account AS MATERIALIZED (
    SELECT user_id FROM accounts WHERE user_id = :user_id::uuid FOR UPDATE
), added AS (
    INSERT INTO passkeys (id, user_id, credential_id, public_key, sign_count, name, created_at)
    SELECT :id::uuid, user_id, :credential_id::bytea, :public_key::bytea, :sign_count::bigint, :name::text,
           :now::timestamptz
    FROM account WHERE passkey_count(user_id) < :at_most::int
    RETURNING user_id
), event AS (
    INSERT INTO outbox (id, type, source, actor_id, audience, occurred_at, payload)
    SELECT gen_random_uuid(), 'account.changed', 'nomadcrew.identity', user_id, 'internal', :now::timestamptz,
           jsonb_build_object('user_id', user_id, 'change', 'passkey_added')
    FROM added
)
SELECT user_id FROM added

-- name: find
SELECT k.id AS passkey_id, k.public_key, k.sign_count, k.name, k.created_at AS added_at, k.used_at, p.id, p.email,
       p.username, p.first_name, p.last_name, p.avatar_url, p.contact_email, p.location_privacy_preference,
       p.preferences, p.created_at, p.updated_at, a.is_admin, a.confirmed_at IS NOT NULL AS confirmed,
       a.totp_confirmed_at IS NOT NULL AS has_totp
FROM passkeys k JOIN accounts a ON a.user_id = k.user_id JOIN user_profiles p ON p.id = k.user_id
WHERE k.credential_id = :credential_id::bytea

-- name: list
SELECT id, credential_id, name, created_at, used_at FROM passkeys
WHERE user_id = :user_id::uuid ORDER BY created_at, id

-- name: used
UPDATE passkeys SET sign_count = greatest(sign_count, :sign_count::bigint), used_at = :now::timestamptz
WHERE id = :id::uuid RETURNING id

-- name: rename
UPDATE passkeys SET name = :name::text WHERE id = :id::uuid AND user_id = :user_id::uuid
RETURNING id, name, created_at, used_at

-- name: remove
-- The lock on the account keeps two removals at once from leaving no way to sign in.
WITH account AS MATERIALIZED (
    SELECT user_id, has_password FROM accounts WHERE user_id = :user_id::uuid FOR UPDATE
), checked AS MATERIALIZED (
    SELECT account.user_id,
           CASE WHEN NOT EXISTS (SELECT FROM passkeys k WHERE k.id = :id::uuid AND k.user_id = account.user_id)
                    THEN 'passkey_not_found'
                WHEN NOT account.has_password AND sign_in_count(account.user_id) < 2 THEN 'last_sign_in'
                ELSE 'ok' END AS verdict
    FROM (SELECT 1) AS always LEFT JOIN account ON true
), removed AS (
    DELETE FROM passkeys k USING checked
    WHERE checked.verdict = 'ok' AND k.id = :id::uuid AND k.user_id = checked.user_id
    RETURNING k.user_id
), event AS (
    INSERT INTO outbox (id, type, source, actor_id, audience, occurred_at, payload)
    SELECT gen_random_uuid(), 'account.changed', 'nomadcrew.identity', user_id, 'internal', :now::timestamptz,
           jsonb_build_object('user_id', user_id, 'change', 'passkey_removed')
    FROM removed
)
SELECT verdict FROM checked
