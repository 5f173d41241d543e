-- name: onboard
WITH judged AS MATERIALIZED (
    SELECT CASE WHEN :email::text = '' AND me.id IS NULL THEN 'email_required'
                WHEN EXISTS (SELECT FROM user_profiles WHERE lower(email) = lower(:email::text) AND id <> :id::uuid)
                    THEN 'email_taken'
                WHEN (me.id IS NULL OR :rename::boolean) AND EXISTS (
                    SELECT FROM user_profiles WHERE lower(username) = lower(:username::text) AND id <> :id::uuid
                ) THEN 'username_taken'
                ELSE 'ok' END AS verdict
    FROM (SELECT 1) AS always LEFT JOIN user_profiles me ON me.id = :id::uuid
), kept AS (
    INSERT INTO user_profiles AS p
        (id, email, username, first_name, last_name, avatar_url, created_at, updated_at)
    SELECT :id::uuid, :email::text, :username::text, :first_name::text, :last_name::text, :avatar_url::text,
           :now::timestamptz, :now::timestamptz
    FROM judged WHERE verdict = 'ok'
    ON CONFLICT (id) DO UPDATE
    SET email = CASE WHEN excluded.email = '' THEN p.email ELSE excluded.email END,
        username = CASE WHEN :rename::boolean THEN excluded.username ELSE p.username END,
        first_name = CASE WHEN p.first_name = '' AND p.last_name = '' THEN excluded.first_name ELSE p.first_name END,
        last_name = CASE WHEN p.first_name = '' AND p.last_name = '' THEN excluded.last_name ELSE p.last_name END,
        avatar_url = CASE WHEN p.avatar_url = '' THEN excluded.avatar_url ELSE p.avatar_url END,
        -- A repeat that brings nothing new leaves the time as it was.
        updated_at = CASE WHEN excluded.email IN ('', p.email)
                               AND (NOT :rename::boolean OR excluded.username = p.username)
                               AND (p.first_name <> '' OR p.last_name <> ''
                                    OR (excluded.first_name = '' AND excluded.last_name = ''))
                               AND (p.avatar_url <> '' OR excluded.avatar_url = '')
                          THEN p.updated_at ELSE excluded.updated_at END
    RETURNING id, email, username, first_name, last_name, avatar_url, contact_email, location_privacy_preference,
              preferences, created_at, updated_at
), told AS (
    -- Who is copied elsewhere is copied again; somebody new is on no trip yet.
    INSERT INTO outbox (id, type, source, audience, occurred_at, payload)
    SELECT gen_random_uuid(), 'profile.changed', 'nomadcrew.identity', 'internal', :now::timestamptz,
           jsonb_build_object('userId', kept.id)
    FROM kept JOIN user_profiles old ON old.id = kept.id
    WHERE (kept.email, kept.username) <> (old.email, old.username)
)
SELECT judged.verdict, kept.id, kept.email, kept.username, kept.first_name, kept.last_name, kept.avatar_url,
       kept.contact_email, kept.location_privacy_preference, kept.preferences, kept.created_at, kept.updated_at
FROM judged LEFT JOIN kept ON true

-- name: one
SELECT CASE WHEN NOT EXISTS (SELECT FROM user_profiles WHERE id = :caller::uuid) THEN 'user_not_onboarded'
            WHEN p.id IS NULL THEN 'user_not_found'
            ELSE 'ok' END AS verdict,
       p.id, p.email, p.username, p.first_name, p.last_name, p.avatar_url, p.contact_email,
       p.location_privacy_preference, p.preferences, p.created_at, p.updated_at
FROM (SELECT 1) AS always LEFT JOIN user_profiles p ON p.id = :id::uuid

-- name: search
-- Three looks, best matches first, each only while the ones before found too few: sorting everybody who matches would
-- take longer the more people there are.
WITH caller AS MATERIALIZED (
    SELECT CASE WHEN EXISTS (SELECT FROM user_profiles WHERE id = :caller::uuid) THEN 'ok'
                ELSE 'user_not_onboarded' END AS verdict
), companions AS MATERIALIZED (
    -- Nobody, unless the caller is on that trip too.
    SELECT m.user_id FROM trip_gate(:trip_id::uuid, :caller::uuid, 1) gate
    JOIN trip_memberships m ON m.trip_id = gate.trip_id AND m.status = 'ACTIVE'
    WHERE gate.verdict = 'ok'
), named AS MATERIALIZED (
    SELECT id FROM user_profiles WHERE lower(username) LIKE lower(:prefix::text)
    ORDER BY lower(username), id LIMIT :limit::int
), addressed AS MATERIALIZED (
    SELECT id FROM user_profiles
    WHERE (SELECT count(*) FROM named) < :limit::int AND lower(username) NOT LIKE lower(:prefix::text)
        AND (lower(email) LIKE lower(:prefix::text) OR lower(contact_email) LIKE lower(:prefix::text))
    ORDER BY lower(username), id LIMIT :limit::int
), holding AS MATERIALIZED (
    SELECT id FROM user_profiles
    WHERE (SELECT count(*) FROM named) + (SELECT count(*) FROM addressed) < :limit::int
        AND search LIKE lower(:pattern::text)
    ORDER BY lower(username), id LIMIT :limit::int
), found AS (
    SELECT id, min(place) AS place
    FROM (SELECT id, 0 AS place FROM named
          UNION ALL SELECT id, 1 FROM addressed
          UNION ALL SELECT id, 2 FROM holding) AS looked
    GROUP BY id
)
SELECT caller.verdict, p.id, p.email, p.username, p.first_name, p.last_name, p.avatar_url, p.contact_email,
       p.id IN (SELECT user_id FROM companions) AS is_member
FROM caller LEFT JOIN (found JOIN user_profiles p USING (id)) ON caller.verdict = 'ok'
ORDER BY found.place, lower(p.username), p.id LIMIT :limit::int

-- name: page
WITH caller AS MATERIALIZED (
    SELECT CASE WHEN NOT EXISTS (SELECT FROM user_profiles WHERE id = :caller::uuid) THEN 'user_not_onboarded'
                WHEN NOT :is_admin::boolean THEN 'admin_only'
                ELSE 'ok' END AS verdict
)
SELECT caller.verdict, counted.total, p.id, p.email, p.username, p.first_name, p.last_name, p.avatar_url,
       p.contact_email, p.location_privacy_preference, p.preferences, p.created_at, p.updated_at
FROM caller
LEFT JOIN LATERAL (SELECT count(*) AS total FROM user_profiles) counted ON caller.verdict = 'ok'
LEFT JOIN LATERAL (
    SELECT * FROM user_profiles ORDER BY created_at DESC, id DESC LIMIT :limit::int OFFSET :offset::int
) p ON caller.verdict = 'ok'
ORDER BY p.created_at DESC, p.id DESC

-- name: change
WITH judged AS MATERIALIZED (
    SELECT CASE WHEN NOT EXISTS (SELECT FROM user_profiles WHERE id = :caller::uuid) THEN 'user_not_onboarded'
                WHEN :id::uuid <> :caller::uuid AND NOT :is_admin::boolean THEN 'not_self'
                ELSE 'ok' END AS verdict
), changed AS (
    UPDATE user_profiles p
    SET username = coalesce(:username::text, p.username),
        first_name = coalesce(:first_name::text, p.first_name),
        last_name = coalesce(:last_name::text, p.last_name),
        avatar_url = coalesce(:avatar_url::text, p.avatar_url),
        location_privacy_preference = coalesce(:location_privacy_preference::text, p.location_privacy_preference),
        updated_at = CASE WHEN coalesce(:username::text, p.username) = p.username
                               AND coalesce(:first_name::text, p.first_name) = p.first_name
                               AND coalesce(:last_name::text, p.last_name) = p.last_name
                               AND coalesce(:avatar_url::text, p.avatar_url) = p.avatar_url
                               AND coalesce(:location_privacy_preference::text, p.location_privacy_preference)
                                   IS NOT DISTINCT FROM p.location_privacy_preference
                          THEN p.updated_at ELSE :now::timestamptz END
    FROM judged WHERE judged.verdict = 'ok' AND p.id = :id::uuid
    RETURNING p.*
), told AS (
    INSERT INTO outbox (id, type, source, audience, occurred_at, payload)
    SELECT gen_random_uuid(), 'profile.changed', 'nomadcrew.identity', 'internal', :now::timestamptz,
           jsonb_build_object('userId', changed.id)
    FROM changed JOIN user_profiles old ON old.id = changed.id WHERE changed.username <> old.username
    UNION ALL
    SELECT gen_random_uuid(), 'location_privacy.changed', 'nomadcrew.identity', 'internal', :now::timestamptz,
           jsonb_build_object('userId', changed.id)
    FROM changed JOIN user_profiles old ON old.id = changed.id
    WHERE changed.location_privacy_preference IS DISTINCT FROM old.location_privacy_preference
)
SELECT CASE WHEN judged.verdict = 'ok' AND p.id IS NULL THEN 'user_not_found' ELSE judged.verdict END AS verdict,
       p.id, p.email, p.username, p.first_name, p.last_name, p.avatar_url, p.contact_email,
       p.location_privacy_preference, p.preferences, p.created_at, p.updated_at
FROM judged LEFT JOIN changed p ON true

-- name: merge_preferences
WITH judged AS MATERIALIZED (
    SELECT CASE WHEN NOT EXISTS (SELECT FROM user_profiles WHERE id = :caller::uuid) THEN 'user_not_onboarded'
                WHEN :id::uuid <> :caller::uuid AND NOT :is_admin::boolean THEN 'not_self'
                ELSE 'ok' END AS verdict
), target AS (
    SELECT p.id FROM judged JOIN user_profiles p ON p.id = :id::uuid WHERE judged.verdict = 'ok'
), changed AS (
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
), told AS (
    INSERT INTO outbox (id, type, source, audience, occurred_at, payload)
    SELECT gen_random_uuid(), 'location_privacy.changed', 'nomadcrew.identity', 'internal', :now::timestamptz,
           jsonb_build_object('userId', changed.id)
    FROM changed JOIN user_profiles old ON old.id = changed.id
    WHERE changed.preferences -> 'ghostMode' IS DISTINCT FROM old.preferences -> 'ghostMode'
)
SELECT CASE WHEN judged.verdict <> 'ok' THEN judged.verdict
            WHEN target.id IS NULL THEN 'user_not_found'
            WHEN p.id IS NULL THEN 'preferences_too_large'
            ELSE 'ok' END AS verdict,
       p.id, p.email, p.username, p.first_name, p.last_name, p.avatar_url, p.contact_email,
       p.location_privacy_preference, p.preferences, p.created_at, p.updated_at
FROM judged LEFT JOIN target ON true LEFT JOIN changed p ON true

-- name: merge_notification_preferences
-- Whatever stands there and is no object gives way.
WITH me AS (
    SELECT id, preferences || jsonb_build_object(
        'notifications',
        CASE WHEN jsonb_typeof(preferences -> 'notifications') = 'object' THEN preferences -> 'notifications'
             ELSE '{}' END || :switches::jsonb,
        'notificationDetails',
        CASE WHEN jsonb_typeof(preferences -> 'notificationDetails') = 'object'
             THEN preferences -> 'notificationDetails' ELSE '{}' END || :details::jsonb
    ) AS merged
    FROM user_profiles WHERE id = :caller::uuid
), changed AS (
    UPDATE user_profiles p SET preferences = me.merged, updated_at = :now::timestamptz
    FROM me WHERE p.id = me.id AND octet_length(me.merged::text) <= :max_bytes::int
    RETURNING p.*
)
SELECT CASE WHEN me.id IS NULL THEN 'user_not_onboarded'
            WHEN p.id IS NULL THEN 'preferences_too_large'
            ELSE 'ok' END AS verdict,
       p.id, p.email, p.username, p.first_name, p.last_name, p.avatar_url, p.contact_email,
       p.location_privacy_preference, p.preferences, p.created_at, p.updated_at
FROM (SELECT 1) AS always LEFT JOIN me ON true LEFT JOIN changed p ON true

-- name: set_contact_email
WITH judged AS MATERIALIZED (
    SELECT CASE WHEN NOT EXISTS (SELECT FROM user_profiles WHERE id = :caller::uuid) THEN 'user_not_onboarded'
                WHEN EXISTS (SELECT FROM user_profiles WHERE lower(email) = lower(:email::text)
                                                             AND id <> :caller::uuid) THEN 'email_taken'
                ELSE 'ok' END AS verdict
), changed AS (
    UPDATE user_profiles p SET contact_email = :email::text, updated_at = :now::timestamptz
    FROM judged
    WHERE judged.verdict = 'ok' AND p.id = :caller::uuid AND p.contact_email IS DISTINCT FROM :email::text
)
SELECT verdict FROM judged
