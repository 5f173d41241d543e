-- name: add
WITH caller AS MATERIALIZED (
    SELECT id FROM user_profiles WHERE id = :caller::uuid
), checked AS MATERIALIZED (
    SELECT CASE WHEN NOT EXISTS (SELECT FROM caller) THEN 'user_not_onboarded'
                WHEN EXISTS (SELECT FROM json_array_elements_text(:trips::json) AS trip (id)
                             WHERE NOT is_active_member(trip.id::uuid, :caller::uuid)) THEN 'not_trip_member'
                WHEN EXISTS (SELECT FROM api_keys WHERE user_id = :caller::uuid AND name = :name::text)
                    THEN 'api_key_exists'
                WHEN locked_api_key_count(:caller::uuid) >= :max_keys::int THEN 'too_many_api_keys'
                ELSE 'ok' END AS verdict
), stored AS (
    INSERT INTO api_keys (id, user_id, hash, name, writes, trip_ids, created_at, expires_at)
    SELECT :id::uuid, :caller::uuid, :hash::bytea, :name::text, :writes::boolean,
           (SELECT array_agg(value::uuid) FROM json_array_elements_text(:trips::json)), :now::timestamptz,
           :expires_at::timestamptz
    FROM checked WHERE verdict = 'ok'
    ON CONFLICT (user_id, name) DO NOTHING
    RETURNING id
)
SELECT CASE WHEN verdict = 'ok' AND NOT EXISTS (SELECT FROM stored) THEN 'api_key_exists' ELSE verdict END AS verdict
FROM checked

-- name: of
SELECT k.id, k.name, k.writes, to_json(k.trip_ids)::text AS trips, k.created_at, k.expires_at, k.last_used_at
FROM user_profiles caller
LEFT JOIN LATERAL (
    SELECT * FROM api_keys WHERE user_id = caller.id ORDER BY created_at DESC, id DESC LIMIT :limit::int
) k ON true
WHERE caller.id = :caller::uuid
ORDER BY k.created_at DESC, k.id DESC

-- name: delete
DELETE FROM api_keys WHERE id = :id::uuid AND user_id = :caller::uuid RETURNING id

-- name: find
SELECT id, user_id, writes, to_json(trip_ids)::text AS trips, expires_at, last_used_at
FROM api_keys WHERE hash = :hash::bytea AND expires_at > :now::timestamptz

-- name: record_use
UPDATE api_keys SET last_used_at = :now::timestamptz
WHERE id = :id::uuid AND coalesce(last_used_at < :now::timestamptz, true)
RETURNING id

-- name: purge
DELETE FROM api_keys WHERE id IN (
    SELECT id FROM api_keys WHERE expires_at < :before::timestamptz ORDER BY expires_at LIMIT :limit::int)
RETURNING 1 AS deleted
