-- name: onboard
WITH checked AS MATERIALIZED (
    SELECT CASE WHEN :email::text = '' AND existing.id IS NULL THEN 'email_required'
                WHEN EXISTS (SELECT FROM user_profiles WHERE email_key = :email_key::text AND id <> :id::uuid)
                    THEN 'email_taken'
                WHEN (existing.id IS NULL OR :rename::boolean) AND EXISTS (
                    SELECT FROM user_profiles WHERE username_key = :username_key::text AND id <> :id::uuid
                ) THEN 'username_taken'
                ELSE 'ok' END AS verdict
    FROM (SELECT 1) AS one_row LEFT JOIN user_profiles existing ON existing.id = :id::uuid
), stored AS (
    INSERT INTO user_profiles AS p
        (id, email, email_key, username, username_key, username_search, first_name, first_name_search, last_name,
         last_name_search, avatar_url, created_at, updated_at)
    SELECT :id::uuid, :email::text, :email_key::text, :username::text, :username_key::text,
           :username_search::text, :first_name::text, :first_name_search::text, :last_name::text,
           :last_name_search::text, :avatar_url::text, :now::timestamptz, :now::timestamptz
    FROM checked WHERE verdict = 'ok'
    ON CONFLICT (id) DO UPDATE
    SET email = CASE WHEN excluded.email = '' THEN p.email ELSE excluded.email END,
        email_key = CASE WHEN excluded.email = '' THEN p.email_key ELSE excluded.email_key END,
        username = CASE WHEN :rename::boolean THEN excluded.username ELSE p.username END,
        username_key = CASE WHEN :rename::boolean THEN excluded.username_key ELSE p.username_key END,
        username_search = CASE WHEN :rename::boolean THEN excluded.username_search ELSE p.username_search END,
        first_name = CASE WHEN p.first_name = '' AND p.last_name = '' THEN excluded.first_name ELSE p.first_name END,
        last_name = CASE WHEN p.first_name = '' AND p.last_name = '' THEN excluded.last_name ELSE p.last_name END,
        first_name_search = CASE WHEN p.first_name = '' AND p.last_name = '' THEN excluded.first_name_search
                                 ELSE p.first_name_search END,
        last_name_search = CASE WHEN p.first_name = '' AND p.last_name = '' THEN excluded.last_name_search
                                ELSE p.last_name_search END,
        avatar_url = CASE WHEN p.avatar_url = '' THEN excluded.avatar_url ELSE p.avatar_url END,
        -- A repeat without changes keeps `updated_at`.
        updated_at = CASE WHEN excluded.email IN ('', p.email)
                               AND (NOT :rename::boolean OR excluded.username = p.username)
                               AND (p.first_name <> '' OR p.last_name <> ''
                                    OR (excluded.first_name = '' AND excluded.last_name = ''))
                               AND (p.avatar_url <> '' OR excluded.avatar_url = '')
                          THEN p.updated_at ELSE excluded.updated_at END
    RETURNING id, email, username, first_name, last_name, avatar_url, contact_email, location_privacy_preference,
              preferences, created_at, updated_at
), event AS (
    -- The mirror copies changed users again; new users have no trips yet, so they need no event.
    INSERT INTO outbox (id, type, source, audience, occurred_at, payload)
    SELECT gen_random_uuid(), 'profile.changed', 'nomadcrew.identity', 'internal', :now::timestamptz,
           jsonb_build_object('userId', stored.id)
    FROM stored JOIN user_profiles old ON old.id = stored.id
    WHERE (stored.email, stored.username) <> (old.email, old.username)
)
SELECT checked.verdict, stored.id, stored.email, stored.username, stored.first_name, stored.last_name,
       stored.avatar_url,
       stored.contact_email, stored.location_privacy_preference, stored.preferences, stored.created_at,
       stored.updated_at
FROM checked LEFT JOIN stored ON true

-- name: one
SELECT CASE WHEN NOT EXISTS (SELECT FROM user_profiles WHERE id = :caller::uuid) THEN 'user_not_onboarded'
            WHEN p.id IS NULL THEN 'user_not_found'
            ELSE 'ok' END AS verdict,
       p.id, p.email, p.username, p.first_name, p.last_name, p.avatar_url, p.contact_email,
       p.location_privacy_preference, p.preferences, p.created_at, p.updated_at
FROM (SELECT 1) AS one_row LEFT JOIN user_profiles p ON p.id = :id::uuid

-- name: view
SELECT CASE WHEN caller.id IS NULL THEN 'user_not_onboarded'
            WHEN p.id IS NULL THEN 'user_not_found'
            ELSE 'ok' END AS verdict,
       p.id, p.email, p.username, p.first_name, p.last_name, p.avatar_url, p.contact_email,
       p.location_privacy_preference, p.preferences, p.created_at, p.updated_at,
       share_a_trip(caller.id, p.id) AS is_companion
FROM (SELECT 1) AS one_row
LEFT JOIN user_profiles caller ON caller.id = :caller::uuid
LEFT JOIN user_profiles p ON p.id = :id::uuid

-- name: search
-- Three searches, best matches first, each only if the previous ones found too few: sorting all matches would take
-- longer the more users there are. Only users on a trip with the caller are found by a part of their name.
WITH caller AS MATERIALIZED (
    SELECT CASE WHEN EXISTS (SELECT FROM user_profiles WHERE id = :caller::uuid) THEN 'ok'
                ELSE 'user_not_onboarded' END AS verdict
), members AS MATERIALIZED (
    -- Empty unless the caller is a member of the trip.
    SELECT m.user_id FROM trip_gate(:trip_id::uuid, :caller::uuid, 1) gate
    JOIN trip_memberships m ON m.trip_id = gate.trip_id AND m.status = 'ACTIVE'
    WHERE gate.verdict = 'ok'
), by_address AS MATERIALIZED (
    SELECT id FROM user_profiles
    WHERE email_key = :email_key::text
        OR contact_email_key = :email_key::text AND contact_email_confirmed_at IS NOT NULL
    ORDER BY username_search, id LIMIT :limit::int
), by_username AS MATERIALIZED (
    SELECT id FROM user_profiles
    WHERE (SELECT count(*) FROM by_address) < :limit::int AND username_search LIKE :prefix::text
    ORDER BY username_search, id LIMIT :limit::int
), by_name AS MATERIALIZED (
    SELECT p.id FROM user_profiles p
    WHERE (SELECT count(*) FROM by_address) + (SELECT count(*) FROM by_username) < :limit::int
        AND p.id IN (SELECT other.user_id FROM trip_memberships own
                     JOIN trips t ON t.id = own.trip_id AND t.deleted_at IS NULL
                     JOIN trip_memberships other ON other.trip_id = own.trip_id AND other.status = 'ACTIVE'
                     WHERE own.user_id = :caller::uuid AND own.status = 'ACTIVE')
        AND concat(' ', p.username_search, ' ', p.first_name_search, ' ', p.last_name_search) LIKE :pattern::text
    ORDER BY p.username_search, p.id LIMIT :limit::int
), matches AS (
    SELECT id, min(priority) AS priority
    FROM (SELECT id, 0 AS priority FROM by_address
          UNION ALL SELECT id, 1 FROM by_username
          UNION ALL SELECT id, 2 FROM by_name) AS ranked
    GROUP BY id ORDER BY priority LIMIT :limit::int
)
SELECT caller.verdict, p.id, p.email, p.username, p.first_name, p.last_name, p.avatar_url,
       p.id IN (SELECT user_id FROM members) AS is_member, share_a_trip(:caller::uuid, p.id) AS is_companion
FROM caller LEFT JOIN (matches JOIN user_profiles p USING (id)) ON caller.verdict = 'ok'
ORDER BY matches.priority, p.username_search, p.id

-- name: page
WITH caller AS MATERIALIZED (
    SELECT CASE WHEN NOT EXISTS (SELECT FROM user_profiles WHERE id = :caller::uuid) THEN 'user_not_onboarded'
                WHEN NOT :is_admin::boolean THEN 'admin_only'
                ELSE 'ok' END AS verdict
)
SELECT caller.verdict, counted.total, p.id, p.email, p.username, p.first_name, p.last_name, p.avatar_url,
       p.contact_email, p.location_privacy_preference, p.preferences, p.created_at, p.updated_at
FROM caller
LEFT JOIN LATERAL (SELECT count(*) AS total FROM user_profiles WHERE imported_with IS NULL) counted ON caller.verdict = 'ok'
LEFT JOIN LATERAL (
    SELECT * FROM user_profiles
    WHERE imported_with IS NULL
        AND (:after_at::timestamptz IS NULL OR (created_at, id) < (:after_at::timestamptz, :after_id::uuid))
    ORDER BY created_at DESC, id DESC LIMIT :limit::int OFFSET :offset::int
) p ON caller.verdict = 'ok'
ORDER BY p.created_at DESC, p.id DESC

-- name: change
WITH checked AS MATERIALIZED (
    SELECT CASE WHEN NOT EXISTS (SELECT FROM user_profiles WHERE id = :caller::uuid) THEN 'user_not_onboarded'
                WHEN :id::uuid <> :caller::uuid AND NOT :is_admin::boolean THEN 'not_self'
                ELSE 'ok' END AS verdict
), old AS (
    -- Locked, so that the events compare with what this statement replaces.
    SELECT p.* FROM checked JOIN user_profiles p ON p.id = :id::uuid WHERE checked.verdict = 'ok'
    FOR NO KEY UPDATE OF p
), updated AS (
    UPDATE user_profiles p
    SET username = coalesce(:username::text, p.username),
        username_key = coalesce(:username_key::text, p.username_key),
        username_search = coalesce(:username_search::text, p.username_search),
        first_name = coalesce(:first_name::text, p.first_name),
        first_name_search = coalesce(:first_name_search::text, p.first_name_search),
        last_name = coalesce(:last_name::text, p.last_name),
        last_name_search = coalesce(:last_name_search::text, p.last_name_search),
        avatar_url = coalesce(:avatar_url::text, p.avatar_url),
        location_privacy_preference = coalesce(:location_privacy_preference::text, p.location_privacy_preference),
        updated_at = CASE WHEN coalesce(:username::text, p.username) = p.username
                               AND coalesce(:first_name::text, p.first_name) = p.first_name
                               AND coalesce(:last_name::text, p.last_name) = p.last_name
                               AND coalesce(:avatar_url::text, p.avatar_url) = p.avatar_url
                               AND coalesce(:location_privacy_preference::text, p.location_privacy_preference)
                                   IS NOT DISTINCT FROM p.location_privacy_preference
                          THEN p.updated_at ELSE :now::timestamptz END
    FROM old WHERE p.id = old.id
    RETURNING p.*
), event AS (
    INSERT INTO outbox (id, type, source, audience, occurred_at, payload)
    SELECT gen_random_uuid(), 'profile.changed', 'nomadcrew.identity', 'internal', :now::timestamptz,
           jsonb_build_object('userId', updated.id)
    FROM updated JOIN old ON true WHERE updated.username <> old.username
    UNION ALL
    SELECT gen_random_uuid(), 'location_privacy.changed', 'nomadcrew.identity', 'internal', :now::timestamptz,
           jsonb_build_object('userId', updated.id)
    FROM updated JOIN old ON true
    WHERE updated.location_privacy_preference IS DISTINCT FROM old.location_privacy_preference
)
SELECT CASE WHEN checked.verdict = 'ok' AND p.id IS NULL THEN 'user_not_found' ELSE checked.verdict END AS verdict,
       p.id, p.email, p.username, p.first_name, p.last_name, p.avatar_url, p.contact_email,
       p.location_privacy_preference, p.preferences, p.created_at, p.updated_at
FROM checked LEFT JOIN updated p ON true

-- name: set_avatar
-- The trigger on avatar URLs deletes the former avatar.
WITH caller AS MATERIALIZED (
    SELECT * FROM user_profiles WHERE id = :caller::uuid FOR NO KEY UPDATE
), avatar AS MATERIALIZED (
    SELECT p.* FROM caller
    JOIN pictures p ON p.id = :picture_id::uuid AND p.user_id = caller.id AND p.trip_id IS NULL AND p.deleted_at IS NULL
    FOR UPDATE OF p
), stored AS (
    UPDATE pictures p SET stored_at = :now::timestamptz FROM avatar WHERE p.id = avatar.id AND p.stored_at IS NULL
    RETURNING p.id
), updated AS (
    UPDATE user_profiles p
    SET avatar_url = :avatar_url::text,
        updated_at = CASE WHEN p.avatar_url = :avatar_url::text THEN p.updated_at ELSE :now::timestamptz END
    FROM avatar WHERE p.id = avatar.user_id
    RETURNING p.*
), event AS (
    INSERT INTO outbox (id, type, source, audience, occurred_at, payload)
    SELECT :event_id::uuid, 'avatar.uploaded', 'picture-service', 'internal', :now::timestamptz,
           jsonb_build_object('id', stored.id, 'userId', :caller::uuid)
    FROM stored
)
SELECT CASE WHEN caller.id IS NULL THEN 'user_not_onboarded'
            WHEN avatar.id IS NULL THEN 'image_not_found'
            ELSE 'ok' END AS verdict,
       p.id, p.email, p.username, p.first_name, p.last_name, p.avatar_url, p.contact_email,
       p.location_privacy_preference, p.preferences, p.created_at, p.updated_at
FROM (SELECT 1) AS one_row LEFT JOIN caller ON true LEFT JOIN avatar ON true LEFT JOIN updated p ON true

-- name: merge_preferences
WITH checked AS MATERIALIZED (
    SELECT CASE WHEN NOT EXISTS (SELECT FROM user_profiles WHERE id = :caller::uuid) THEN 'user_not_onboarded'
                WHEN :id::uuid <> :caller::uuid AND NOT :is_admin::boolean THEN 'not_self'
                ELSE 'ok' END AS verdict
), target AS (
    SELECT p.id, p.preferences FROM checked JOIN user_profiles p ON p.id = :id::uuid WHERE checked.verdict = 'ok'
    FOR NO KEY UPDATE OF p
), updated AS (
    UPDATE user_profiles p
    SET preferences = (
            SELECT coalesce(jsonb_object_agg(key, value), '{}')
            FROM jsonb_each(p.preferences || :preferences::jsonb) WHERE value <> 'null'::jsonb
        ),
        updated_at = :now::timestamptz
    FROM target
    WHERE p.id = target.id
        AND octet_length((p.preferences || :preferences::jsonb)::text) <= :max_bytes::int
    RETURNING p.*
), event AS (
    INSERT INTO outbox (id, type, source, audience, occurred_at, payload)
    SELECT gen_random_uuid(), 'location_privacy.changed', 'nomadcrew.identity', 'internal', :now::timestamptz,
           jsonb_build_object('userId', updated.id)
    FROM updated JOIN target ON true
    WHERE updated.preferences -> 'ghostMode' IS DISTINCT FROM target.preferences -> 'ghostMode'
)
SELECT CASE WHEN checked.verdict <> 'ok' THEN checked.verdict
            WHEN target.id IS NULL THEN 'user_not_found'
            WHEN p.id IS NULL THEN 'preferences_too_large'
            ELSE 'ok' END AS verdict,
       p.id, p.email, p.username, p.first_name, p.last_name, p.avatar_url, p.contact_email,
       p.location_privacy_preference, p.preferences, p.created_at, p.updated_at
FROM checked LEFT JOIN target ON true LEFT JOIN updated p ON true

-- name: merge_notification_preferences
-- Values that are not objects are replaced.
WITH caller AS (
    SELECT id, preferences || jsonb_build_object(
        'notifications',
        CASE WHEN jsonb_typeof(preferences -> 'notifications') = 'object' THEN preferences -> 'notifications'
             ELSE '{}' END || :switches::jsonb,
        'notificationDetails',
        CASE WHEN jsonb_typeof(preferences -> 'notificationDetails') = 'object'
             THEN preferences -> 'notificationDetails' ELSE '{}' END || :details::jsonb
    ) AS merged
    FROM user_profiles WHERE id = :caller::uuid FOR NO KEY UPDATE
), updated AS (
    UPDATE user_profiles p SET preferences = caller.merged, updated_at = :now::timestamptz
    FROM caller WHERE p.id = caller.id AND octet_length(caller.merged::text) <= :max_bytes::int
    RETURNING p.*
)
SELECT CASE WHEN caller.id IS NULL THEN 'user_not_onboarded'
            WHEN p.id IS NULL THEN 'preferences_too_large'
            ELSE 'ok' END AS verdict,
       p.id, p.email, p.username, p.first_name, p.last_name, p.avatar_url, p.contact_email,
       p.location_privacy_preference, p.preferences, p.created_at, p.updated_at
FROM (SELECT 1) AS one_row LEFT JOIN caller ON true LEFT JOIN updated p ON true

-- name: set_contact_email
-- The same address again keeps its confirmation and is mailed again after a pause.
WITH checked AS MATERIALIZED (
    SELECT CASE WHEN NOT EXISTS (SELECT FROM user_profiles WHERE id = :caller::uuid) THEN 'user_not_onboarded'
                WHEN EXISTS (SELECT FROM user_profiles WHERE email_key = :email_key::text
                                                             AND id <> :caller::uuid) THEN 'email_taken'
                ELSE 'ok' END AS verdict
), quota AS MATERIALIZED (
    SELECT locked_mail_count(:recipient::text, :counted_since::timestamptz) < :max_mails::int AS is_free
    FROM checked WHERE verdict = 'ok'
), old AS MATERIALIZED (
    SELECT p.id, quota.is_free, p.contact_email_mailed_at AS mailed_at,
           coalesce(p.contact_email_key = :email_key::text, false) AS is_same,
           -- An address that the account itself proves needs no mail.
           p.email_key = :email_key::text AS is_own
    FROM quota JOIN user_profiles p ON p.id = :caller::uuid FOR UPDATE OF p
), mail AS MATERIALIZED (
    SELECT old.*, old.is_free AND NOT old.is_own
        AND NOT (old.is_same AND coalesce(old.mailed_at > :mailed_before::timestamptz, false)) AS is_due
    FROM old
), updated AS (
    UPDATE user_profiles p
    SET contact_email = :email::text, contact_email_key = :email_key::text,
        contact_email_code_id = CASE WHEN mail.is_same AND p.contact_email_code_id IS NOT NULL
                                     THEN p.contact_email_code_id ELSE :code_id::uuid END,
        contact_email_confirmed_at = CASE WHEN mail.is_own THEN :now::timestamptz
                                          WHEN mail.is_same THEN p.contact_email_confirmed_at END,
        contact_email_mailed_at = CASE WHEN mail.is_due THEN :now::timestamptz ELSE p.contact_email_mailed_at END,
        updated_at = CASE WHEN p.contact_email IS DISTINCT FROM :email::text THEN :now::timestamptz
                          ELSE p.updated_at END
    FROM mail WHERE p.id = mail.id
    RETURNING p.id, p.contact_email_code_id, p.contact_email_confirmed_at, mail.is_due
), sent AS (
    INSERT INTO mails_sent (event_id, recipient, sent_at)
    SELECT :event_id::uuid, :recipient::text, :now::timestamptz
    FROM updated WHERE is_due AND contact_email_confirmed_at IS NULL
), event AS (
    INSERT INTO outbox (id, type, source, audience, occurred_at, payload)
    SELECT :event_id::uuid, 'contact_email.confirmation_requested', 'nomadcrew.identity', 'internal',
           :now::timestamptz, jsonb_build_object('code_id', contact_email_code_id)
    FROM updated WHERE is_due AND contact_email_confirmed_at IS NULL
)
SELECT verdict FROM checked

-- name: unconfirmed_contact_email
SELECT id, username, contact_email FROM user_profiles
WHERE contact_email_code_id = :code_id::uuid AND contact_email_confirmed_at IS NULL

-- name: confirm_contact_email
WITH updated AS (
    UPDATE user_profiles p
    SET contact_email_confirmed_at = coalesce(p.contact_email_confirmed_at, :now::timestamptz),
        updated_at = :now::timestamptz
    WHERE p.contact_email_code_id = :code_id::uuid
    RETURNING id, username, contact_email
)
SELECT id, username, contact_email FROM updated
