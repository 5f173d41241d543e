-- name: begin
UPDATE accounts
SET totp_secret = :secret::bytea,
    recovery_hashes = ARRAY(SELECT decode(value, 'hex') FROM jsonb_array_elements_text(:hashes::jsonb))
WHERE user_id = :user_id::uuid AND totp_confirmed_at IS NULL
RETURNING user_id

-- name: one
SELECT p.id, p.email, p.username, p.first_name, p.last_name, p.avatar_url, p.contact_email,
       p.location_privacy_preference, p.preferences, p.created_at, p.updated_at, a.is_admin,
       a.confirmed_at IS NOT NULL AS confirmed, a.totp_confirmed_at IS NOT NULL AS has_totp, a.totp_secret,
       cardinality(a.recovery_hashes) AS recovery_codes_left
FROM accounts a JOIN user_profiles p ON p.id = a.user_id
WHERE a.user_id = :user_id::uuid AND a.totp_secret IS NOT NULL

-- name: confirm
WITH confirmed AS (
    UPDATE accounts SET totp_confirmed_at = :now::timestamptz, totp_spent_step = :step::bigint
    WHERE user_id = :user_id::uuid AND totp_secret = :secret::bytea AND totp_confirmed_at IS NULL
    RETURNING user_id
), event AS (
    INSERT INTO outbox (id, type, source, actor_id, audience, occurred_at, payload)
    SELECT gen_random_uuid(), 'account.changed', 'nomadcrew.identity', user_id, 'internal', :now::timestamptz,
           jsonb_build_object('user_id', user_id, 'change', 'totp_enabled')
    FROM confirmed
)
SELECT user_id FROM confirmed

-- name: spend_step
UPDATE accounts SET totp_spent_step = :step::bigint
WHERE user_id = :user_id::uuid AND totp_confirmed_at IS NOT NULL AND totp_spent_step < :step::bigint
RETURNING user_id

-- name: spend_recovery_code
UPDATE accounts SET recovery_hashes = array_remove(recovery_hashes, :hash::bytea)
WHERE user_id = :user_id::uuid AND totp_confirmed_at IS NOT NULL AND :hash::bytea = ANY (recovery_hashes)
RETURNING user_id

-- name: remove
WITH removed AS (
    UPDATE accounts
    SET totp_secret = NULL, totp_confirmed_at = NULL, totp_spent_step = NULL, recovery_hashes = '{}'
    WHERE user_id = :user_id::uuid AND totp_confirmed_at IS NOT NULL
    RETURNING user_id
)
INSERT INTO outbox (id, type, source, actor_id, audience, occurred_at, payload)
SELECT gen_random_uuid(), 'account.changed', 'nomadcrew.identity', user_id, 'internal', :now::timestamptz,
       jsonb_build_object('user_id', user_id, 'change', 'totp_disabled')
FROM removed
