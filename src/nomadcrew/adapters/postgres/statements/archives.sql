-- name: begin
-- The trip of the import: that of an earlier attempt within a day, unless it was finished and deleted since.
WITH caller AS MATERIALIZED (
    SELECT p.id, (SELECT count(*) FROM trip_memberships m JOIN trips t ON t.id = m.trip_id AND t.deleted_at IS NULL
                  WHERE m.user_id = p.id AND m.status = 'ACTIVE') AS trips
    FROM user_profiles p WHERE p.id = :caller::uuid
), earlier AS MATERIALIZED (
    SELECT i.trip_id, i.finished_at IS NOT NULL AS is_finished
    FROM trip_imports i JOIN trips t ON t.id = i.trip_id
    WHERE i.fingerprint = :fingerprint::bytea AND i.begun_at > :since::timestamptz
        AND (i.finished_at IS NULL OR t.deleted_at IS NULL)
), checked AS MATERIALIZED (
    SELECT CASE WHEN caller.id IS NULL THEN 'user_not_onboarded'
                WHEN earlier.is_finished THEN 'replayed'
                WHEN caller.trips >= :max_trips::int THEN 'too_many_trips'
                ELSE 'ok' END AS verdict,
           coalesce(earlier.trip_id, :id::uuid) AS trip_id
    FROM (SELECT 1) AS always LEFT JOIN caller ON true LEFT JOIN earlier ON true
), trip AS (
    INSERT INTO trips (id, name, description, destination_place_id, destination_address, destination_name,
                       destination_latitude, destination_longitude, start_date, end_date, status, created_by,
                       created_at, updated_at, background_image_url, timezone, member_count, destination_name_search,
                       destination_address_search, deleted_at)
    SELECT trip_id, :name::text, :description::text, :destination_place_id::text, :destination_address::text,
           :destination_name::text, :destination_latitude::float8, :destination_longitude::float8,
           :start_date::date, :end_date::date, :status::text, :caller::uuid, :created_at::timestamptz,
           :updated_at::timestamptz, :background_image_url::text, :timezone::text, 0,
           :destination_name_search::text, :destination_address_search::text, :now::timestamptz
    FROM checked WHERE verdict = 'ok'
    ON CONFLICT (id) DO NOTHING
), begun AS (
    INSERT INTO trip_imports AS i (fingerprint, user_id, trip_id, begun_at)
    SELECT :fingerprint::bytea, :caller::uuid, trip_id, :now::timestamptz FROM checked WHERE verdict = 'ok'
    ON CONFLICT (fingerprint) DO UPDATE
    SET trip_id = excluded.trip_id, begun_at = excluded.begun_at, finished_at = NULL
    WHERE i.trip_id <> excluded.trip_id AND (i.finished_at IS NOT NULL OR i.begun_at <= :since::timestamptz)
)
SELECT verdict, trip_id FROM checked

-- name: people
INSERT INTO user_profiles (id, email, email_key, username, username_key, username_search, first_name,
                           first_name_search, last_name_search, created_at, updated_at, imported_with)
SELECT p.id, 'imported-' || p.id || '@people.invalid', 'imported ' || p.id, 'imported ' || p.id, 'imported ' || p.id, '', p.name, '', '',
       :now::timestamptz, :now::timestamptz, :trip_id::uuid
FROM jsonb_to_recordset(:people::jsonb) AS p (id uuid, name text)
WHERE is_importing(:trip_id::uuid)
ON CONFLICT DO NOTHING

-- name: todos
INSERT INTO todos (id, trip_id, text, status, created_by, created_at, updated_at, assignee_id, due_at, position)
SELECT t.id, :trip_id::uuid, t.text, t.status, t.created_by, t.created_at, t.updated_at, t.assignee_id, t.due_at,
       t.position
FROM jsonb_to_recordset(:todos::jsonb) AS t (
    id uuid, text text, status text, created_by uuid, created_at timestamptz, updated_at timestamptz,
    assignee_id uuid, due_at timestamptz, position float8)
WHERE is_importing(:trip_id::uuid)
ON CONFLICT DO NOTHING

-- name: polls
WITH input AS MATERIALIZED (
    SELECT p.* FROM jsonb_to_recordset(:polls::jsonb) AS p (
        id uuid, question text, kind text, ballot text, allow_multiple_votes boolean, members_add_options boolean,
        closes_automatically boolean, status text, created_by uuid, closed_by uuid, closed_at timestamptz,
        expires_at timestamptz, created_at timestamptz, updated_at timestamptz, applied_as text,
        applied_option_id uuid, applied_todo_id uuid, applied_at timestamptz, is_single boolean, options jsonb)
    WHERE is_importing(:trip_id::uuid)
), inserted AS (
    INSERT INTO polls (id, trip_id, question, kind, ballot, allow_multiple_votes, members_add_options,
                       closes_automatically, status, created_by, closed_by, closed_at, expires_at, created_at,
                       updated_at, applied_as, applied_option_id, applied_todo_id, applied_at)
    SELECT id, :trip_id::uuid, question, kind, ballot, allow_multiple_votes, members_add_options,
           closes_automatically, status, created_by, closed_by, closed_at, expires_at, created_at, updated_at,
           applied_as, applied_option_id, applied_todo_id, applied_at
    FROM input
    ON CONFLICT DO NOTHING
    RETURNING id
), option AS MATERIALIZED (
    SELECT input.id AS poll_id, input.is_single, o.*
    FROM inserted JOIN input ON input.id = inserted.id
    CROSS JOIN LATERAL jsonb_to_recordset(input.options) AS o (
        id uuid, text text, text_key text, position int, first_day date, last_day date, created_by uuid,
        created_at timestamptz, votes jsonb)
), options AS (
    INSERT INTO poll_options (id, poll_id, text, text_key, position, first_day, last_day, created_by, created_at)
    SELECT id, poll_id, text, text_key, position, first_day, last_day, created_by, created_at FROM option
)
INSERT INTO poll_votes (poll_id, user_id, option_id, is_single, answer, rank, created_at)
SELECT option.poll_id, v.user_id, option.id, option.is_single, v.answer, v.rank, v.created_at
FROM option CROSS JOIN LATERAL jsonb_to_recordset(option.votes) AS v (
    user_id uuid, answer text, rank int, created_at timestamptz)

-- name: documents
-- A sweep between two attempts may have deleted the row of the first one.
INSERT INTO documents AS d (id, user_id, trip_id, type, name, description, metadata, ends_on, media_type, size_bytes,
                            created_at, updated_at)
SELECT n.id, n.user_id, :trip_id::uuid, n.type, n.name, n.description, n.metadata, n.ends_on, n.media_type,
       n.size_bytes, n.created_at, n.updated_at
FROM jsonb_to_recordset(:documents::jsonb) AS n (
    id uuid, user_id uuid, type text, name text, description text, metadata jsonb, ends_on date, media_type text,
    size_bytes bigint, created_at timestamptz, updated_at timestamptz)
WHERE is_importing(:trip_id::uuid)
ON CONFLICT (id) DO UPDATE SET deleted_at = NULL, file_is_gone = false, updated_at = excluded.updated_at
WHERE d.trip_id = excluded.trip_id

-- name: photo
-- A sweep between two attempts may have deleted the row of the first one.
INSERT INTO pictures AS p (id, trip_id, user_id, media_type, size_bytes, status, created_at)
SELECT :id::uuid, :trip_id::uuid, :user_id::uuid, :media_type::text, :size_bytes::bigint, 'processing',
       :created_at::timestamptz
WHERE is_importing(:trip_id::uuid)
ON CONFLICT (id) DO UPDATE SET deleted_at = NULL WHERE p.trip_id = excluded.trip_id

-- name: attachments
INSERT INTO attachments AS a (id, trip_id, user_id, type, size_bytes, name, message_id, created_at)
SELECT n.id, :trip_id::uuid, n.user_id, n.type, n.size_bytes, n.name, n.message_id, n.created_at
FROM jsonb_to_recordset(:attachments::jsonb) AS n (
    id uuid, user_id uuid, type text, size_bytes bigint, name text, message_id uuid, created_at timestamptz)
WHERE is_importing(:trip_id::uuid)
ON CONFLICT (id) DO UPDATE SET deleted_at = NULL WHERE a.trip_id = excluded.trip_id

-- name: meeting_point
INSERT INTO meeting_points (trip_id, latitude, longitude, name, radius_m, set_by, set_at)
SELECT :trip_id::uuid, :latitude::float8, :longitude::float8, :name::text, :radius_m::float8, :set_by::uuid,
       :set_at::timestamptz
WHERE is_importing(:trip_id::uuid)
ON CONFLICT DO NOTHING

-- name: finish
-- The trip appears with everything. A sweep that came between deleted files, so that they must be stored again.
WITH creation AS MATERIALIZED (
    SELECT locked.* FROM locked_creation(:caller::uuid, :fingerprint::bytea, :now::timestamptz) locked
), import AS MATERIALIZED (
    SELECT i.* FROM trip_imports i WHERE i.trip_id = :trip_id::uuid AND i.user_id = :caller::uuid FOR UPDATE
), checked AS MATERIALIZED (
    SELECT CASE WHEN import.trip_id IS NULL THEN 'import_interrupted'
                WHEN import.finished_at IS NOT NULL THEN 'replayed'
                WHEN creation.trips >= :max_trips::int THEN 'too_many_trips'
                WHEN (SELECT count(*) FROM documents d WHERE d.trip_id = import.trip_id AND d.deleted_at IS NULL)
                     <> :documents::int
                     OR (SELECT count(*) FROM pictures p WHERE p.trip_id = import.trip_id AND p.deleted_at IS NULL)
                     <> :photos::int
                     OR (SELECT count(*) FROM attachments a WHERE a.trip_id = import.trip_id AND a.deleted_at IS NULL)
                     <> :attachments::int THEN 'import_interrupted'
                ELSE 'ok' END AS verdict
    FROM creation LEFT JOIN import ON true
), trip AS (
    UPDATE trips t SET deleted_at = NULL, member_count = 1 FROM checked WHERE checked.verdict = 'ok' AND t.id = :trip_id::uuid
    RETURNING t.*
), owner AS (
    INSERT INTO trip_memberships (id, trip_id, user_id, role, status, created_at, updated_at, joined_at)
    SELECT :membership_id::uuid, id, :caller::uuid, 'OWNER', 'ACTIVE', :now::timestamptz, :now::timestamptz,
           :now::timestamptz
    FROM trip
), stored AS (
    UPDATE documents d SET stored_at = :now::timestamptz FROM trip WHERE d.trip_id = trip.id AND d.deleted_at IS NULL
), photos AS (
    UPDATE pictures p SET stored_at = :now::timestamptz FROM trip WHERE p.trip_id = trip.id AND p.deleted_at IS NULL
    RETURNING p.id
), renditions AS (
    INSERT INTO outbox (id, type, source, audience, occurred_at, payload)
    SELECT caused_id(concat_ws('|', 'picture.imported', id, :event_id::uuid)), 'picture.imported', 'picture-service', 'internal',
           :now::timestamptz, jsonb_build_object('id', id)
    FROM photos
), finished AS (
    UPDATE trip_imports i SET finished_at = :now::timestamptz FROM trip WHERE i.trip_id = trip.id
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
    SELECT :event_id::uuid, 'TRIP_CREATED', 'trip-management-service', id, :caller::uuid, 'trip', :now::timestamptz,
           trip_json(ROW(trip.*)::trips) || jsonb_build_object('event_id', :event_id::uuid, 'tripName', name)
    FROM trip
)
SELECT verdict FROM checked

-- name: forget
DELETE FROM trip_imports WHERE fingerprint IN (
    SELECT fingerprint FROM trip_imports WHERE begun_at < :before::timestamptz ORDER BY begun_at LIMIT :limit::int)
RETURNING 1 AS deleted

-- name: reserve_upload
INSERT INTO trip_uploads AS u (id, user_id, size_bytes, reserved_at)
SELECT :id::uuid, p.id, :size_bytes::bigint, :now::timestamptz FROM user_profiles p WHERE p.id = :caller::uuid
ON CONFLICT (id) DO UPDATE SET reserved_at = excluded.reserved_at WHERE u.user_id = excluded.user_id
RETURNING id

-- name: upload
SELECT size_bytes FROM trip_uploads
WHERE id = :id::uuid AND user_id = :caller::uuid AND reserved_at > :since::timestamptz

-- name: expired_uploads
SELECT id FROM trip_uploads WHERE reserved_at < :before::timestamptz ORDER BY reserved_at LIMIT :limit::int

-- name: forget_uploads
DELETE FROM trip_uploads WHERE id IN (SELECT jsonb_array_elements_text(:ids::jsonb)::uuid)
