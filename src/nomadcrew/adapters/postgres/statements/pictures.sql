-- name: reserve
-- The trip is locked, so that concurrent uploads share its quota, and a repeat waits for the first request.
WITH gate AS MATERIALIZED (
    SELECT * FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int)
), album AS MATERIALIZED (
    SELECT a.* FROM gate
    CROSS JOIN LATERAL locked_album(gate.trip_id, :fingerprint::bytea, :now::timestamptz) a
    WHERE gate.verdict = 'ok'
), checked AS MATERIALIZED (
    SELECT CASE WHEN gate.verdict <> 'ok' THEN gate.verdict
                WHEN album.is_repeat THEN 'replayed'
                WHEN album.photos >= :max_photos::int THEN 'image_quota_exceeded'
                WHEN album.bytes + :size_bytes::bigint > :max_bytes::bigint THEN 'image_quota_exceeded'
                ELSE 'ok' END AS verdict
    FROM gate LEFT JOIN album ON true
), idempotency_key AS (
    INSERT INTO replays AS r (key, result_id, expires_at)
    SELECT :fingerprint::bytea, :id::uuid, :kept_until::timestamptz FROM checked WHERE verdict = 'ok'
    ON CONFLICT (key) DO UPDATE SET result_id = excluded.result_id, expires_at = excluded.expires_at
    WHERE r.expires_at <= :now::timestamptz
), inserted AS (
    INSERT INTO pictures (id, trip_id, user_id, media_type, size_bytes, status, created_at)
    SELECT :id::uuid, :trip_id::uuid, :caller::uuid, :media_type::text, :size_bytes::bigint, 'processing',
           :now::timestamptz
    FROM checked WHERE verdict = 'ok'
)
SELECT verdict FROM checked

-- name: reserve_avatar
WITH caller AS MATERIALIZED (
    SELECT id FROM user_profiles WHERE id = :caller::uuid
), idempotency_key AS (
    INSERT INTO replays AS r (key, result_id, expires_at)
    SELECT :fingerprint::bytea, :id::uuid, :kept_until::timestamptz FROM caller
    ON CONFLICT (key) DO UPDATE SET result_id = excluded.result_id, expires_at = excluded.expires_at
    WHERE r.expires_at <= :now::timestamptz
    RETURNING result_id
), inserted AS (
    INSERT INTO pictures (id, user_id, media_type, size_bytes, status, created_at)
    SELECT result_id, :caller::uuid, :media_type::text, :size_bytes::bigint, 'processing', :now::timestamptz
    FROM idempotency_key
)
SELECT CASE WHEN NOT EXISTS (SELECT FROM caller) THEN 'user_not_onboarded'
            WHEN EXISTS (SELECT FROM idempotency_key) THEN 'ok'
            ELSE 'replayed' END AS verdict

-- name: replayed
SELECT result_id AS id FROM replays WHERE key = :fingerprint::bytea

-- name: complete
WITH gate AS MATERIALIZED (
    SELECT * FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int)
), found AS MATERIALIZED (
    SELECT p.* FROM gate
    JOIN pictures p ON gate.verdict = 'ok' AND p.id = :id::uuid AND p.trip_id = gate.trip_id
        AND p.user_id = :caller::uuid AND p.deleted_at IS NULL
    FOR UPDATE OF p
), updated AS (
    UPDATE pictures p
    SET stored_at = :now::timestamptz, media_type = :media_type::text, size_bytes = :size_bytes::bigint
    FROM found WHERE p.id = found.id AND p.stored_at IS NULL
    RETURNING p.*
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
    SELECT :event_id::uuid, 'TRIP_IMAGE_ADDED', 'picture-service', p.trip_id, :caller::uuid, 'trip',
           :now::timestamptz, picture_json(p)
    FROM updated p
)
SELECT CASE WHEN gate.verdict = 'ok' AND found.id IS NULL THEN 'image_not_found' ELSE gate.verdict END AS verdict,
       found.id, found.trip_id, found.user_id, coalesce(updated.media_type, found.media_type) AS media_type,
       coalesce(updated.size_bytes, found.size_bytes) AS size_bytes, found.status, found.width_px, found.height_px,
       found.created_at
FROM gate LEFT JOIN found ON true LEFT JOIN updated ON true

-- name: one
SELECT CASE WHEN gate.verdict = 'ok' AND p.id IS NULL THEN 'image_not_found' ELSE gate.verdict END AS verdict,
       p.id, p.trip_id, p.user_id, p.media_type, p.size_bytes, p.status, p.width_px, p.height_px, p.created_at
FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int) gate
LEFT JOIN pictures p ON gate.verdict = 'ok' AND p.id = :id::uuid AND p.trip_id = gate.trip_id
    AND p.stored_at IS NOT NULL AND p.deleted_at IS NULL

-- name: page
SELECT gate.verdict, p.id, p.trip_id, p.user_id, p.media_type, p.size_bytes, p.status, p.width_px, p.height_px,
       p.created_at
FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int) gate
LEFT JOIN LATERAL (
    SELECT * FROM pictures WHERE trip_id = gate.trip_id AND deleted_at IS NULL AND stored_at IS NOT NULL
        AND (:after_at::timestamptz IS NULL OR (created_at, id) < (:after_at::timestamptz, :after_id::uuid))
    ORDER BY created_at DESC, id DESC LIMIT :limit::int
) p ON gate.verdict = 'ok'
ORDER BY p.created_at DESC, p.id DESC

-- name: delete
WITH gate AS MATERIALIZED (
    SELECT * FROM trip_gate(:trip_id::uuid, :caller::uuid, 1)
), photo AS MATERIALIZED (
    SELECT p.id, may_change(gate.rank, p.user_id, :caller::uuid, :min_rank::int, :own::boolean) AS is_allowed
    FROM gate JOIN pictures p ON gate.verdict = 'ok' AND p.id = :id::uuid AND p.trip_id = gate.trip_id
        AND p.stored_at IS NOT NULL AND p.deleted_at IS NULL
), deleted AS (
    UPDATE pictures p SET deleted_at = :now::timestamptz
    FROM photo WHERE photo.is_allowed AND p.id = photo.id AND p.deleted_at IS NULL
    RETURNING p.id, p.trip_id
), deleted_key AS (
    -- The same file may be uploaded again at once.
    DELETE FROM replays r USING deleted WHERE r.result_id = deleted.id
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
    SELECT :event_id::uuid, 'TRIP_IMAGE_DELETED', 'picture-service', trip_id, :caller::uuid, 'trip',
           :now::timestamptz, jsonb_build_object('id', id, 'tripId', trip_id)
    FROM deleted
)
SELECT CASE WHEN gate.verdict <> 'ok' THEN gate.verdict
            WHEN photo.id IS NOT NULL AND NOT photo.is_allowed THEN 'not_image_owner'
            WHEN NOT EXISTS (SELECT FROM deleted) THEN 'image_not_found'
            ELSE 'ok' END AS verdict
FROM gate LEFT JOIN photo ON true

-- name: avatar
SELECT id, trip_id, user_id, media_type, size_bytes, status, width_px, height_px, created_at
FROM pictures WHERE id = :id::uuid AND trip_id IS NULL AND stored_at IS NOT NULL AND deleted_at IS NULL

-- name: unrendered
SELECT id, trip_id, user_id, media_type, size_bytes, status, width_px, height_px, created_at
FROM pictures WHERE id = :id::uuid AND status = 'processing' AND stored_at IS NOT NULL AND deleted_at IS NULL

-- name: rendered
WITH updated AS (
    UPDATE pictures
    SET status = CASE WHEN :width_px::int IS NULL THEN 'failed' ELSE 'ready' END, width_px = :width_px::int,
        height_px = :height_px::int
    WHERE id = :id::uuid AND status = 'processing' AND stored_at IS NOT NULL AND deleted_at IS NULL
    RETURNING *
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
    SELECT :event_id::uuid, 'TRIP_IMAGE_UPDATED', 'picture-service', p.trip_id, NULL, 'trip', :now::timestamptz,
           picture_json(ROW(p.*)::pictures)
    FROM updated p WHERE p.trip_id IS NOT NULL
)
SELECT 1 AS changed FROM updated

-- name: expire
-- Reservations that were never completed, photos of deleted trips, and avatars of users without a profile.
WITH due AS (
    (SELECT id FROM pictures
     WHERE stored_at IS NULL AND deleted_at IS NULL AND created_at < :reserved_before::timestamptz
     LIMIT :limit::int)
    UNION
    (SELECT p.id FROM trips t JOIN pictures p ON p.trip_id = t.id
     WHERE t.deleted_at IS NOT NULL AND p.deleted_at IS NULL
     LIMIT :limit::int)
    UNION
    (SELECT id FROM pictures WHERE user_id IS NULL AND trip_id IS NULL AND deleted_at IS NULL LIMIT :limit::int)
)
UPDATE pictures p SET deleted_at = :now::timestamptz
FROM due JOIN pictures current ON current.id = due.id LEFT JOIN trips t ON t.id = current.trip_id
WHERE p.id = due.id AND p.deleted_at IS NULL
    AND (p.stored_at IS NULL OR t.deleted_at IS NOT NULL OR (p.user_id IS NULL AND p.trip_id IS NULL))
RETURNING 1 AS expired

-- name: deleted
SELECT id FROM pictures WHERE deleted_at IS NOT NULL AND deleted_at <= :deleted_before::timestamptz
ORDER BY deleted_at, id LIMIT :limit::int

-- name: forget
DELETE FROM pictures
WHERE deleted_at IS NOT NULL AND id IN (SELECT jsonb_array_elements_text(:ids::jsonb)::uuid)
RETURNING 1 AS deleted
