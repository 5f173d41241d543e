-- name: add
WITH caller AS MATERIALIZED (
    SELECT * FROM user_profiles WHERE id = :caller::uuid
), creation AS MATERIALIZED (
    SELECT locked.* FROM locked_creation(:caller::uuid, :fingerprint::bytea, :now::timestamptz) locked
), idempotency_key AS (
    INSERT INTO replays AS r (key, result_id, expires_at)
    SELECT :fingerprint::bytea, :id::uuid, :kept_until::timestamptz
    FROM caller, creation WHERE creation.trips < :max_trips::int
    ON CONFLICT (key) DO UPDATE SET result_id = excluded.result_id, expires_at = excluded.expires_at
    WHERE r.expires_at <= :now::timestamptz
    RETURNING result_id
), trip AS (
    INSERT INTO trips (id, name, description, destination_place_id, destination_address, destination_name,
                       destination_latitude, destination_longitude, start_date, end_date, status, created_by,
                       created_at, updated_at, background_image_url, timezone, member_count, destination_name_search,
                       destination_address_search)
    SELECT result_id, :name::text, :description::text, :destination_place_id::text, :destination_address::text,
           :destination_name::text, :destination_latitude::float8, :destination_longitude::float8,
           :start_date::date, :end_date::date, :status::text, :caller::uuid, :now::timestamptz,
           :now::timestamptz, :background_image_url::text, :timezone::text, 1,
           :destination_name_search::text, :destination_address_search::text
    FROM idempotency_key
    RETURNING *
), owner AS (
    INSERT INTO trip_memberships (id, trip_id, user_id, role, status, created_at, updated_at, joined_at)
    SELECT :membership_id::uuid, id, created_by, 'OWNER', 'ACTIVE', created_at, created_at, created_at FROM trip
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
    SELECT :event_id::uuid, 'TRIP_CREATED', 'trip-management-service', id, created_by, 'trip', created_at,
           trip_json(ROW(trip.*)::trips) || jsonb_build_object('event_id', :event_id::uuid, 'tripName', name)
    FROM trip
)
SELECT CASE WHEN caller.id IS NULL THEN 'user_not_onboarded'
            WHEN EXISTS (SELECT FROM idempotency_key) THEN 'ok'
            WHEN creation.is_repeat THEN 'replayed'
            ELSE 'too_many_trips' END AS verdict,
       caller.email, caller.username, caller.first_name, caller.last_name, caller.avatar_url
FROM creation LEFT JOIN caller ON true

-- name: replayed
SELECT t.id AS trip_id, trip_columns.*, m.id AS membership_id, m.user_id, m.role, m.status AS membership_status,
       m.created_at AS member_since, m.updated_at AS member_updated_at,
       p.email, p.username, p.first_name, p.last_name, p.avatar_url
FROM replays r
JOIN trips t ON t.id = r.result_id AND t.deleted_at IS NULL
JOIN trip_memberships m ON m.trip_id = t.id AND m.status = 'ACTIVE'
JOIN user_profiles p ON p.id = m.user_id
LEFT JOIN LATERAL (SELECT t.*) trip_columns ON m.user_id = :caller::uuid
WHERE r.key = :fingerprint::bytea
ORDER BY m.created_at, m.id

-- name: of
-- A page ends before its members are too many; the first trip is always on it.
SELECT t.id, t.start_date, t.member_count, card.part
FROM user_profiles caller
LEFT JOIN LATERAL (
    SELECT * FROM (
        SELECT trips.id, trips.start_date, trips.member_count, sum(trips.member_count) OVER (
                   ORDER BY trips.start_date DESC, trips.id DESC ROWS UNBOUNDED PRECEDING) AS members_so_far
        FROM trip_memberships own
        JOIN trips ON trips.id = own.trip_id AND trips.deleted_at IS NULL
        WHERE own.user_id = caller.id AND own.status = 'ACTIVE'
            AND (:after_at::date IS NULL OR (trips.start_date, trips.id) < (:after_at::date, :after_id::uuid))
    ) listed
    WHERE members_so_far - member_count < :max_members::int
    ORDER BY start_date DESC, id DESC LIMIT :limit::int
) t ON true
LEFT JOIN trip_cards ON trip_cards.trip_id = t.id
LEFT JOIN LATERAL card_parts(coalesce(trip_cards.body, trip_card(t.id))) card ON true
WHERE caller.id = :caller::uuid
ORDER BY t.start_date DESC, t.id DESC, card.n

-- name: search
SELECT gate.verdict, t.id, t.start_date, t.member_count, card.part
FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int) gate
LEFT JOIN LATERAL (
    SELECT trips.id, trips.start_date, trips.member_count FROM trip_memberships own
    JOIN trips ON trips.id = own.trip_id AND trips.deleted_at IS NULL
    WHERE own.user_id = :caller::uuid AND own.status = 'ACTIVE'
        AND (:destination::text IS NULL
             OR strpos(concat_ws(chr(10), trips.destination_name_search, trips.destination_address_search),
                       :destination::text) > 0)
        AND (:start_from::date IS NULL OR trips.start_date >= :start_from::date)
        AND (:start_to::date IS NULL OR trips.start_date <= :start_to::date)
        AND (:end_to::date IS NULL OR trips.end_date <= :end_to::date)
        AND (:after_at::date IS NULL OR (trips.start_date, trips.id) < (:after_at::date, :after_id::uuid))
    ORDER BY trips.start_date DESC, trips.id DESC LIMIT :limit::int OFFSET :offset::int
) t ON gate.verdict = 'ok'
LEFT JOIN trip_cards ON trip_cards.trip_id = t.id
LEFT JOIN LATERAL card_parts(coalesce(trip_cards.body, trip_card(t.id))) card ON true
ORDER BY t.start_date DESC, t.id DESC, card.n

-- name: card
SELECT gate.verdict, card.part
FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int) gate
LEFT JOIN trip_cards ON gate.verdict = 'ok' AND trip_cards.trip_id = gate.trip_id
LEFT JOIN LATERAL card_parts(coalesce(
    trip_cards.body, CASE WHEN gate.verdict = 'ok' THEN trip_card(gate.trip_id) END)) card ON true
ORDER BY card.n

-- name: one
-- Only the caller's row has the trip's columns: repeated for every member, they would cost more than the query.
SELECT gate.verdict, t.id AS trip_id, trip_columns.*,
       m.id AS membership_id, m.user_id, m.role, m.status AS membership_status,
       m.created_at AS member_since, m.updated_at AS member_updated_at,
       p.email, p.username, p.first_name, p.last_name, p.avatar_url
FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int) gate
LEFT JOIN trips t ON gate.verdict = 'ok' AND t.id = gate.trip_id
LEFT JOIN trip_memberships m ON m.trip_id = t.id AND m.status = 'ACTIVE'
LEFT JOIN user_profiles p ON p.id = m.user_id
LEFT JOIN LATERAL (SELECT t.*) trip_columns ON m.user_id = :caller::uuid
ORDER BY m.created_at, m.id

-- name: change
WITH gate AS MATERIALIZED (
    SELECT * FROM locked_trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int)
), old AS (
    SELECT t.* FROM gate JOIN trips t ON t.id = gate.trip_id AND t.deleted_at IS NULL
    WHERE gate.verdict = 'ok' FOR UPDATE OF t
), requested AS (
    SELECT id, coalesce(nullif(:name::text, ''), name) AS name,
           coalesce(:description::text, description) AS description,
           coalesce(:destination_place_id::text, destination_place_id) AS destination_place_id,
           coalesce(:destination_address::text, destination_address) AS destination_address,
           coalesce(:destination_name::text, destination_name) AS destination_name,
           coalesce(:destination_address_search::text, destination_address_search) AS destination_address_search,
           coalesce(:destination_name_search::text, destination_name_search) AS destination_name_search,
           coalesce(:destination_latitude::float8, destination_latitude) AS destination_latitude,
           coalesce(:destination_longitude::float8, destination_longitude) AS destination_longitude,
           coalesce(:start_date::date, start_date) AS start_date, coalesce(:end_date::date, end_date) AS end_date,
           coalesce(:status::text, status) AS status,
           coalesce(:timezone::text,
                    CASE WHEN (destination_latitude, destination_longitude)
                              <> (coalesce(:destination_latitude::float8, destination_latitude),
                                  coalesce(:destination_longitude::float8, destination_longitude))
                         THEN :destination_timezone::text END,
                    timezone) AS timezone
    FROM old
), checked AS (
    SELECT CASE WHEN gate.verdict <> 'ok' THEN gate.verdict
                WHEN old.id IS NULL THEN 'trip_not_found'
                WHEN requested.end_date < requested.start_date THEN 'invalid_dates'
                WHEN (requested.status <> old.status OR :must_move::boolean)
                    AND NOT jsonb_exists(:allowed_from::jsonb, old.status) THEN 'invalid_status_transition'
                ELSE 'ok' END AS verdict
    FROM gate LEFT JOIN old ON true LEFT JOIN requested ON true
), fields AS (
    SELECT coalesce(jsonb_agg(field ORDER BY field), '[]') AS names
    FROM old, requested, LATERAL (VALUES
        ('name', old.name <> requested.name), ('description', old.description <> requested.description),
        ('destination', (old.destination_place_id, old.destination_address, old.destination_name,
                         old.destination_latitude, old.destination_longitude)
            IS DISTINCT
            FROM (requested.destination_place_id, requested.destination_address, requested.destination_name,
                              requested.destination_latitude, requested.destination_longitude)),
        ('startDate', old.start_date <> requested.start_date), ('endDate', old.end_date <> requested.end_date),
        ('timezone', old.timezone <> requested.timezone)
    ) AS f (field, differs) WHERE differs
), updated AS (
    UPDATE trips t
    SET name = requested.name, description = requested.description,
        destination_place_id = requested.destination_place_id,
        destination_address = requested.destination_address, destination_name = requested.destination_name,
        destination_address_search = requested.destination_address_search,
        destination_name_search = requested.destination_name_search,
        destination_latitude = requested.destination_latitude,
        destination_longitude = requested.destination_longitude,
        start_date = requested.start_date, end_date = requested.end_date, status = requested.status,
        timezone = requested.timezone, updated_at = :now::timestamptz
    FROM requested, checked, old, fields
    WHERE checked.verdict = 'ok' AND t.id = requested.id
        AND (fields.names <> '[]' OR requested.status <> old.status)
    RETURNING t.*
), events AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
    SELECT event.id, event.type, 'trip-management-service', updated.id, :caller::uuid, 'trip', updated.updated_at,
           event.payload || jsonb_build_object('event_id', event.id)
    FROM updated, old, fields, LATERAL (VALUES
        (:event_id::uuid, 'TRIP_UPDATED', fields.names <> '[]',
         trip_json(ROW(updated.*)::trips) || jsonb_build_object('changedFields', fields.names)),
        (:status_event_id::uuid, 'TRIP_STATUS_UPDATED', updated.status <> old.status,
         jsonb_build_object('old_status', old.status, 'new_status', updated.status, 'status', updated.status))
    ) AS event (id, type, due, payload)
    WHERE event.due
), latest AS (
    SELECT * FROM updated UNION ALL SELECT * FROM old WHERE NOT EXISTS (SELECT FROM updated)
)
SELECT checked.verdict, old.status AS old_status, t.id AS trip_id, trip_columns.*,
       m.id AS membership_id, m.user_id, m.role, m.status AS membership_status,
       m.created_at AS member_since, m.updated_at AS member_updated_at,
       p.email, p.username, p.first_name, p.last_name, p.avatar_url
FROM checked
LEFT JOIN old ON true
LEFT JOIN latest t ON true
LEFT JOIN trip_memberships m ON checked.verdict = 'ok' AND m.trip_id = t.id AND m.status = 'ACTIVE'
LEFT JOIN user_profiles p ON p.id = m.user_id
LEFT JOIN LATERAL (SELECT t.*) trip_columns ON m.user_id = :caller::uuid
ORDER BY m.created_at, m.id

-- name: delete
WITH gate AS MATERIALIZED (
    SELECT * FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int)
), deleted AS (
    UPDATE trips t SET deleted_at = :now::timestamptz, updated_at = :now::timestamptz
    FROM gate WHERE gate.verdict = 'ok' AND t.id = gate.trip_id AND t.deleted_at IS NULL
    RETURNING t.id
), deleted_key AS (
    DELETE FROM replays r USING deleted WHERE r.result_id = deleted.id
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
    SELECT :event_id::uuid, 'TRIP_DELETED', 'trip-management-service', id, :caller::uuid, 'trip',
           :now::timestamptz, jsonb_build_object('event_id', :event_id::uuid)
    FROM deleted
)
SELECT CASE WHEN gate.verdict = 'ok' AND NOT EXISTS (SELECT FROM deleted) THEN 'trip_not_found'
            ELSE gate.verdict END AS verdict
FROM gate
