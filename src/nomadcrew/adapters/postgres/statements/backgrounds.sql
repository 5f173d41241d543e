-- name: query
SELECT coalesce(nullif(destination_name, ''), nullif(destination_address, ''), name) AS query
FROM trips WHERE id = :trip_id::uuid AND deleted_at IS NULL AND background_image_url = ''

-- name: fill
WITH updated AS (
    UPDATE trips
    SET background_image_url = :url::text, background_photographer = :photographer::text,
        background_page_url = :page_url::text, updated_at = :now::timestamptz
    WHERE id = :trip_id::uuid AND deleted_at IS NULL AND background_image_url = ''
    RETURNING *
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
    SELECT :event_id::uuid, 'TRIP_UPDATED', 'trip-management-service', updated.id, NULL, 'trip', :now::timestamptz,
           trip_json(ROW(updated.*)::trips)
               || jsonb_build_object('event_id', :event_id::uuid, 'changedFields', jsonb_build_array('backgroundImageUrl'))
    FROM updated
)
SELECT 1 AS filled FROM updated
