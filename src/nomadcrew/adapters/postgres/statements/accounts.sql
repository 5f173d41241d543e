-- name: register
WITH owner AS MATERIALIZED (
    SELECT p.*, a.password_hash, a.is_admin, a.confirmed_at IS NOT NULL AS confirmed,
       a.totp_confirmed_at IS NOT NULL AS has_totp
    FROM user_profiles p LEFT JOIN accounts a ON a.user_id = p.id
    WHERE p.email_key = :email_key::text
), available AS MATERIALIZED (
    SELECT candidate.username, candidate.username_key, candidate.username_search
    FROM jsonb_to_recordset(:usernames::jsonb)
        AS candidate (priority int, username text, username_key text, username_search text)
    WHERE NOT EXISTS (SELECT FROM user_profiles p WHERE p.username_key = candidate.username_key)
    ORDER BY candidate.priority LIMIT 1
), profile AS (
    INSERT INTO user_profiles (id, email, email_key, username, username_key, username_search, first_name,
                               first_name_search, last_name, last_name_search, created_at, updated_at)
    SELECT :user_id::uuid, :email::text, :email_key::text, available.username, available.username_key,
           available.username_search, :first_name::text, :first_name_search::text, :last_name::text,
           :last_name_search::text, :now::timestamptz, :now::timestamptz
    FROM available WHERE NOT EXISTS (SELECT FROM owner)
    RETURNING *
), account AS (
    INSERT INTO accounts (user_id, password_hash, has_password, confirmed_at, created_at, updated_at)
    SELECT id, :password_hash::text, :provider::text IS NULL,
           CASE WHEN :confirmed::boolean THEN :now::timestamptz END, :now::timestamptz, :now::timestamptz
    FROM profile
), identity AS (
    INSERT INTO identities (provider, subject, user_id, created_at)
    SELECT :provider::text, :subject::text, id, :now::timestamptz FROM profile WHERE :provider::text IS NOT NULL
)
SELECT 'created' AS verdict, id, email, username, first_name, last_name, avatar_url, contact_email,
       location_privacy_preference, preferences, created_at, updated_at, '' AS password_hash, false AS is_admin,
       :confirmed::boolean AS confirmed, false AS has_totp
FROM profile
UNION ALL
SELECT 'exists', id, email, username, first_name, last_name, avatar_url, contact_email, location_privacy_preference,
       preferences, created_at, updated_at, password_hash, is_admin, confirmed, has_totp
FROM owner

-- name: recent_registration
SELECT password_hash FROM registrations
WHERE email_key = :email_key::text AND created_at > :since::timestamptz AND confirmed_at IS NULL
ORDER BY created_at DESC LIMIT 1

-- name: request
WITH owner AS MATERIALIZED (
    SELECT p.id FROM user_profiles p WHERE p.email_key = :email_key::text
), available AS MATERIALIZED (
    SELECT candidate.username, candidate.username_key, candidate.username_search
    FROM jsonb_to_recordset(:usernames::jsonb)
        AS candidate (priority int, username text, username_key text, username_search text)
    WHERE NOT EXISTS (SELECT FROM user_profiles p WHERE p.username_key = candidate.username_key)
    ORDER BY candidate.priority LIMIT 1
), stored AS (
    INSERT INTO registrations
        (id, email, email_key, username, username_key, username_search, first_name, first_name_search, last_name,
         last_name_search, password_hash, created_at, mailed_at, expires_at)
    SELECT :id::uuid, :email::text, :email_key::text, available.username, available.username_key,
           available.username_search, :first_name::text, :first_name_search::text, :last_name::text,
           :last_name_search::text, :password_hash::text, :now::timestamptz, :now::timestamptz,
           :expires_at::timestamptz
    FROM available
    WHERE NOT EXISTS (SELECT FROM owner)
        AND locked_registration_count(:email_key::text, :counted_since::timestamptz) < :at_most::int
    RETURNING id
), reminded AS (
    UPDATE accounts a SET reminded_at = :now::timestamptz FROM owner, available
    WHERE a.user_id = owner.id AND coalesce(a.reminded_at <= :remind_before::timestamptz, true)
    RETURNING a.user_id
), event AS (
    INSERT INTO outbox (id, type, source, audience, occurred_at, payload)
    SELECT :event_id::uuid, 'account.confirmation_requested', 'nomadcrew.identity', 'internal', :now::timestamptz,
           subject.payload
    FROM (SELECT jsonb_build_object('registration_id', id) AS payload FROM stored
          UNION ALL SELECT jsonb_build_object('user_id', user_id) FROM reminded) AS subject
)
SELECT CASE WHEN EXISTS (SELECT FROM available) THEN 'ok' ELSE 'username_taken' END AS verdict

-- name: remind
WITH renewed AS (
    UPDATE registrations SET mailed_at = :now::timestamptz, expires_at = :expires_at::timestamptz
    WHERE id = :id::uuid AND confirmed_at IS NULL AND mailed_at <= :mailed_before::timestamptz
    RETURNING id
)
INSERT INTO outbox (id, type, source, audience, occurred_at, payload)
SELECT :event_id::uuid, 'account.confirmation_requested', 'nomadcrew.identity', 'internal', :now::timestamptz,
       jsonb_build_object('registration_id', id)
FROM renewed

-- name: remind_address
WITH renewed AS (
    UPDATE registrations SET mailed_at = :now::timestamptz, expires_at = :expires_at::timestamptz
    WHERE id = (
        SELECT r.id FROM registrations r
        WHERE r.email_key = :email_key::text AND r.confirmed_at IS NULL AND r.expires_at > :now::timestamptz
            AND NOT EXISTS (SELECT FROM user_profiles p WHERE p.email_key = r.email_key)
        ORDER BY r.created_at DESC, r.id DESC LIMIT 1
    ) AND confirmed_at IS NULL AND mailed_at <= :mailed_before::timestamptz
    RETURNING id
)
INSERT INTO outbox (id, type, source, audience, occurred_at, payload)
SELECT :event_id::uuid, 'account.confirmation_requested', 'nomadcrew.identity', 'internal', :now::timestamptz,
       jsonb_build_object('registration_id', id)
FROM renewed

-- name: request_reset
WITH requested AS (
    INSERT INTO password_resets AS r (user_id, id, mailed_at, expires_at)
    SELECT a.user_id, :id::uuid, :now::timestamptz, :expires_at::timestamptz
    FROM user_profiles p JOIN accounts a ON a.user_id = p.id
    WHERE p.email_key = :email_key::text
    ON CONFLICT (user_id) DO UPDATE
    SET id = CASE WHEN r.used_at IS NULL AND r.expires_at > excluded.mailed_at THEN r.id ELSE excluded.id END,
        mailed_at = excluded.mailed_at, expires_at = excluded.expires_at, used_at = NULL
    WHERE r.mailed_at <= :mailed_before::timestamptz
    RETURNING id
)
INSERT INTO outbox (id, type, source, audience, occurred_at, payload)
SELECT :event_id::uuid, 'account.password_reset_requested', 'nomadcrew.identity', 'internal', :now::timestamptz,
       jsonb_build_object('reset_id', id)
FROM requested

-- name: reset
SELECT r.id AS reset_id, r.expires_at, p.id, p.email, p.username, p.first_name, p.last_name, p.avatar_url,
       p.contact_email, p.location_privacy_preference, p.preferences, p.created_at, p.updated_at, a.is_admin,
       a.confirmed_at IS NOT NULL AS confirmed,
       a.totp_confirmed_at IS NOT NULL AS has_totp
FROM password_resets r JOIN accounts a ON a.user_id = r.user_id JOIN user_profiles p ON p.id = r.user_id
WHERE r.id = :id::uuid AND r.used_at IS NULL AND r.expires_at > :now::timestamptz

-- name: reset_password
WITH spent AS (
    UPDATE password_resets SET used_at = :now::timestamptz
    WHERE id = :id::uuid AND used_at IS NULL AND expires_at > :now::timestamptz
    RETURNING user_id
), changed AS (
    UPDATE accounts a SET password_hash = :password_hash::text, has_password = true, updated_at = :now::timestamptz,
        confirmed_at = coalesce(a.confirmed_at, :now::timestamptz)
    FROM spent WHERE a.user_id = spent.user_id RETURNING a.user_id
), ended AS (
    UPDATE sessions s SET revoked_at = :now::timestamptz FROM changed
    WHERE s.user_id = changed.user_id AND s.revoked_at IS NULL
), event AS (
    INSERT INTO outbox (id, type, source, actor_id, audience, occurred_at, payload)
    SELECT gen_random_uuid(), 'account.changed', 'nomadcrew.identity', user_id, 'internal', :now::timestamptz,
           jsonb_build_object('user_id', user_id, 'change', 'password')
    FROM changed
), deleted_keys AS (
    DELETE FROM api_keys k USING changed WHERE k.user_id = changed.user_id
)
SELECT user_id FROM changed

-- name: request_email_change
WITH requested AS (
    INSERT INTO email_changes AS c (user_id, id, email, email_key, mailed_at, expires_at)
    SELECT a.user_id, :id::uuid, :email::text, :email_key::text, :now::timestamptz, :expires_at::timestamptz
    FROM accounts a
    WHERE a.user_id = :user_id::uuid
        AND NOT EXISTS (SELECT FROM user_profiles p WHERE p.email_key = :email_key::text)
    ON CONFLICT (user_id) DO UPDATE
    SET id = excluded.id, email = excluded.email, email_key = excluded.email_key, former_email = NULL,
        mailed_at = excluded.mailed_at, expires_at = excluded.expires_at
    WHERE c.mailed_at <= :mailed_before::timestamptz OR c.email_key <> excluded.email_key
    RETURNING id, user_id
)
INSERT INTO outbox (id, type, source, actor_id, audience, occurred_at, payload)
SELECT :event_id::uuid, 'account.email_change_requested', 'nomadcrew.identity', user_id, 'internal',
       :now::timestamptz, jsonb_build_object('change_id', id)
FROM requested

-- name: email_change
SELECT c.id AS change_id, c.email AS new_email, c.expires_at, p.id, p.email, p.username, p.first_name, p.last_name, p.avatar_url,
       p.contact_email, p.location_privacy_preference, p.preferences, p.created_at, p.updated_at, a.is_admin,
       a.confirmed_at IS NOT NULL AS confirmed, a.totp_confirmed_at IS NOT NULL AS has_totp
FROM email_changes c JOIN accounts a ON a.user_id = c.user_id JOIN user_profiles p ON p.id = c.user_id
WHERE c.id = :id::uuid AND c.former_email IS NULL AND c.expires_at > :now::timestamptz

-- name: change_email
WITH change AS MATERIALIZED (
    SELECT c.*, p.email AS present_email FROM email_changes c JOIN user_profiles p ON p.id = c.user_id
    WHERE c.id = :id::uuid AND c.former_email IS NULL AND c.expires_at > :now::timestamptz
    FOR UPDATE OF c, p
), spent AS (
    UPDATE email_changes c SET former_email = change.present_email FROM change WHERE c.user_id = change.user_id
), profile AS (
    UPDATE user_profiles p SET email = change.email, email_key = change.email_key, updated_at = :now::timestamptz
    FROM change WHERE p.id = change.user_id
), account AS (
    UPDATE accounts a SET confirmed_at = :now::timestamptz, updated_at = :now::timestamptz
    FROM change WHERE a.user_id = change.user_id
), events AS (
    INSERT INTO outbox (id, type, source, actor_id, audience, occurred_at, payload)
    SELECT gen_random_uuid(), event.type, 'nomadcrew.identity', change.user_id, 'internal', :now::timestamptz,
           event.payload
    FROM change CROSS JOIN LATERAL (
        VALUES ('profile.changed', jsonb_build_object('userId', change.user_id)),
               ('account.changed',
                jsonb_build_object('user_id', change.user_id, 'change', 'email', 'change_id', change.id))
    ) AS event (type, payload)
)
SELECT user_id FROM change

-- name: former_email
SELECT former_email FROM email_changes WHERE id = :id::uuid

-- name: note_device
WITH kept AS (
    DELETE FROM account_deletions WHERE user_id = :user_id::uuid AND begun_at IS NULL RETURNING user_id
), kept_event AS (
    INSERT INTO outbox (id, type, source, audience, occurred_at, payload)
    SELECT gen_random_uuid(), 'account.deletion_cancelled', 'nomadcrew.identity', 'internal', :now::timestamptz,
           jsonb_build_object('user_id', user_id)
    FROM kept
), leaving AS (
    SELECT d.user_id FROM account_deletions d WHERE d.user_id = :user_id::uuid AND NOT EXISTS (SELECT FROM kept)
), noted AS (
    INSERT INTO known_devices AS d (id, user_id, kind, user_agent, created_at, seen_at)
    SELECT :id::uuid, :user_id::uuid, :kind::bytea, :user_agent::text, :now::timestamptz, :now::timestamptz
    WHERE NOT EXISTS (SELECT FROM leaving)
    ON CONFLICT (user_id, kind) DO UPDATE SET seen_at = excluded.seen_at
    RETURNING d.id
), event AS (
    INSERT INTO outbox (id, type, source, actor_id, audience, occurred_at, payload)
    SELECT gen_random_uuid(), 'account.changed', 'nomadcrew.identity', a.user_id, 'internal', :now::timestamptz,
           jsonb_build_object('user_id', a.user_id, 'change', 'new_device', 'device_id', noted.id)
    FROM noted JOIN accounts a ON a.user_id = :user_id::uuid
    WHERE noted.id = :id::uuid AND NOT :is_known::boolean AND a.confirmed_at IS NOT NULL
        AND EXISTS (SELECT FROM known_devices other WHERE other.user_id = a.user_id)
)
SELECT NOT EXISTS (SELECT FROM leaving) AS may_sign_in

-- name: device
SELECT d.user_agent, d.created_at AS first_seen_at, p.id, p.email, p.username, p.first_name, p.last_name, p.avatar_url,
       p.contact_email, p.location_privacy_preference, p.preferences, p.created_at, p.updated_at, a.is_admin,
       a.confirmed_at IS NOT NULL AS confirmed, a.totp_confirmed_at IS NOT NULL AS has_totp
FROM known_devices d JOIN accounts a ON a.user_id = d.user_id JOIN user_profiles p ON p.id = d.user_id
WHERE d.id = :id::uuid

-- name: confirm
WITH registration AS MATERIALIZED (
    SELECT * FROM registrations WHERE id = :id::uuid FOR UPDATE
), checked AS MATERIALIZED (
    SELECT CASE WHEN registration.id IS NULL THEN 'invalid_confirmation'
                WHEN registration.confirmed_at IS NOT NULL
                     OR EXISTS (SELECT FROM user_profiles p WHERE p.email_key = registration.email_key)
                    THEN 'confirmation_used'
                WHEN registration.expires_at <= :now::timestamptz THEN 'invalid_confirmation'
                ELSE 'ok' END AS verdict
    FROM (SELECT 1) AS one_row LEFT JOIN registration ON true
), available AS MATERIALIZED (
    SELECT candidate.username, candidate.username_key, candidate.username_search
    FROM (
        SELECT 0 AS priority, username, username_key, username_search FROM registration
        UNION ALL
        SELECT * FROM jsonb_to_recordset(:usernames::jsonb)
            AS other (priority int, username text, username_key text, username_search text)
    ) AS candidate
    WHERE NOT EXISTS (SELECT FROM user_profiles p WHERE p.username_key = candidate.username_key)
    ORDER BY candidate.priority LIMIT 1
), profile AS (
    INSERT INTO user_profiles (id, email, email_key, username, username_key, username_search, first_name,
                               first_name_search, last_name, last_name_search, created_at, updated_at)
    SELECT registration.id, registration.email, registration.email_key, available.username, available.username_key,
           available.username_search, registration.first_name, registration.first_name_search,
           registration.last_name, registration.last_name_search, :now::timestamptz, :now::timestamptz
    FROM checked, registration, available WHERE checked.verdict = 'ok'
    RETURNING *
), account AS (
    INSERT INTO accounts (user_id, password_hash, confirmed_at, created_at, updated_at)
    SELECT profile.id, coalesce(:password_hash::text, registration.password_hash), :now::timestamptz,
           :now::timestamptz,
           :now::timestamptz
    FROM profile, registration
), used AS (
    UPDATE registrations r SET confirmed_at = :now::timestamptz, password_hash = '' FROM profile
    WHERE r.id = :id::uuid
)
SELECT CASE WHEN checked.verdict = 'ok' AND p.id IS NULL THEN 'username_taken' ELSE checked.verdict END AS verdict,
       (SELECT username FROM registration) AS wanted_username, p.id, p.email, p.username, p.first_name, p.last_name,
       p.avatar_url, p.contact_email, p.location_privacy_preference, p.preferences, p.created_at, p.updated_at,
       false AS is_admin, true AS confirmed, false AS has_totp
FROM checked LEFT JOIN profile p ON true

-- name: pending
SELECT r.id, r.email, r.username, r.expires_at, r.password_hash FROM registrations r
WHERE r.id = :id::uuid AND r.confirmed_at IS NULL AND r.expires_at > :now::timestamptz
    AND NOT EXISTS (SELECT FROM user_profiles p WHERE p.email_key = r.email_key)

-- name: find
WITH account AS MATERIALIZED (
    SELECT p.*, a.password_hash, a.is_admin, a.confirmed_at IS NOT NULL AS confirmed,
       a.totp_confirmed_at IS NOT NULL AS has_totp
    FROM user_profiles p JOIN accounts a ON a.user_id = p.id
    WHERE p.email_key = :email_key::text OR p.username_key = :username_key::text
    ORDER BY p.email_key = :email_key::text DESC LIMIT 1
), pending AS (
    SELECT r.id, r.password_hash FROM registrations r
    WHERE (r.email_key = :email_key::text OR r.username_key = :username_key::text)
        AND r.confirmed_at IS NULL AND r.expires_at > :now::timestamptz AND NOT EXISTS (SELECT FROM account)
    ORDER BY r.email_key = :email_key::text DESC, r.created_at DESC LIMIT 1
)
SELECT pending.id AS registration_id, coalesce(account.password_hash, pending.password_hash) AS password_hash,
       account.id, account.email, account.username, account.first_name, account.last_name, account.avatar_url,
       account.contact_email, account.location_privacy_preference, account.preferences, account.created_at,
       account.updated_at, account.is_admin, account.confirmed, account.has_totp
FROM account FULL JOIN pending ON true

-- name: rehash
UPDATE accounts SET password_hash = :password_hash::text
WHERE user_id = :user_id::uuid AND password_hash = :old_hash::text

-- name: one
SELECT p.id, p.email, p.username, p.first_name, p.last_name, p.avatar_url, p.contact_email,
       p.location_privacy_preference, p.preferences, p.created_at, p.updated_at, a.is_admin,
       a.confirmed_at IS NOT NULL AS confirmed,
       a.totp_confirmed_at IS NOT NULL AS has_totp, a.password_hash
FROM accounts a JOIN user_profiles p ON p.id = a.user_id WHERE a.user_id = :user_id::uuid

-- name: page
SELECT counted.total, p.id, p.email, p.username, p.first_name, p.last_name, p.avatar_url, p.contact_email,
       p.location_privacy_preference, p.preferences, p.created_at, p.updated_at, a.is_admin,
       a.confirmed_at IS NOT NULL AS confirmed,
       a.totp_confirmed_at IS NOT NULL AS has_totp
FROM (SELECT count(*) AS total FROM accounts) counted
LEFT JOIN LATERAL (
    SELECT * FROM accounts ORDER BY created_at DESC, user_id DESC LIMIT :limit::int OFFSET :offset::int
) a ON true
LEFT JOIN user_profiles p ON p.id = a.user_id
ORDER BY a.created_at DESC, a.user_id DESC

-- name: set_password
WITH changed AS (
    UPDATE accounts SET password_hash = :password_hash::text, has_password = true, updated_at = :now::timestamptz
    WHERE user_id = :user_id::uuid RETURNING user_id
), ended AS (
    UPDATE sessions s SET revoked_at = :now::timestamptz FROM changed
    WHERE s.user_id = changed.user_id AND s.revoked_at IS NULL
), event AS (
    INSERT INTO outbox (id, type, source, actor_id, audience, occurred_at, payload)
    SELECT gen_random_uuid(), 'account.changed', 'nomadcrew.identity', user_id, 'internal', :now::timestamptz,
           jsonb_build_object('user_id', user_id, 'change', 'password')
    FROM changed
), deleted_keys AS (
    DELETE FROM api_keys k USING changed WHERE k.user_id = changed.user_id
)
SELECT user_id FROM changed

-- name: grant_admin
UPDATE accounts SET is_admin = :granted::boolean, updated_at = :now::timestamptz
WHERE user_id = :user_id::uuid RETURNING user_id

-- name: in_use
SELECT id FROM registrations WHERE id IN (SELECT value::uuid FROM json_array_elements_text(:ids::json))
UNION SELECT user_id FROM accounts WHERE user_id IN (SELECT value::uuid FROM json_array_elements_text(:ids::json))

-- name: forget_expired
DELETE FROM registrations WHERE id IN (
    SELECT id FROM registrations WHERE expires_at < :before::timestamptz ORDER BY expires_at LIMIT :limit::int)
RETURNING 1 AS deleted

-- name: purge_email_changes
DELETE FROM email_changes WHERE user_id IN (
    SELECT user_id FROM email_changes WHERE expires_at < :before::timestamptz ORDER BY expires_at LIMIT :limit::int)
RETURNING 1 AS deleted

-- name: purge_known_devices
DELETE FROM known_devices WHERE id IN (
    SELECT id FROM known_devices WHERE seen_at < :before::timestamptz ORDER BY seen_at LIMIT :limit::int)
RETURNING 1 AS deleted
