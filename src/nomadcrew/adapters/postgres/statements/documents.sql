-- name: reserve
-- The wallet is locked, so that concurrent uploads share its quota, and a repeat waits for the first request.
WITH gate AS MATERIALIZED (
    SELECT * FROM wallet_gate(:trip_id::uuid, :caller::uuid, :min_rank::int)
), wallet AS MATERIALIZED (
    SELECT w.* FROM gate
    CROSS JOIN LATERAL locked_wallet(:trip_id::uuid, :caller::uuid, :fingerprint::bytea, :now::timestamptz) w
    WHERE gate.verdict = 'ok'
), checked AS MATERIALIZED (
    SELECT CASE WHEN gate.verdict <> 'ok' THEN gate.verdict
                WHEN wallet.is_repeat THEN 'replayed'
                WHEN wallet.documents >= :max_documents::int THEN 'storage_quota_exceeded'
                WHEN wallet.bytes + :size_bytes::bigint > :max_bytes::bigint THEN 'storage_quota_exceeded'
                ELSE 'ok' END AS verdict
    FROM gate LEFT JOIN wallet ON true
), idempotency_key AS (
    INSERT INTO replays AS r (key, result_id, expires_at)
    SELECT :fingerprint::bytea, :id::uuid, :kept_until::timestamptz FROM checked WHERE verdict = 'ok'
    ON CONFLICT (key) DO UPDATE SET result_id = excluded.result_id, expires_at = excluded.expires_at
    WHERE r.expires_at <= :now::timestamptz
), inserted AS (
    INSERT INTO documents (id, user_id, trip_id, type, name, name_search, description, metadata, ends_on, media_type,
                           size_bytes, created_at, updated_at)
    SELECT :id::uuid, :caller::uuid, :trip_id::uuid, :type::text, :name::text, :name_search::text, :description::text,
           :metadata::jsonb, :ends_on::date, :media_type::text, :size_bytes::bigint, :now::timestamptz, :now::timestamptz
    FROM checked WHERE verdict = 'ok'
)
SELECT verdict FROM checked

-- name: replayed
SELECT result_id AS id FROM replays WHERE key = :fingerprint::bytea

-- name: completed
SELECT media_type, size_bytes FROM documents
WHERE id = :id::uuid AND user_id = :caller::uuid AND deleted_at IS NULL AND stored_at IS NOT NULL

-- name: complete
WITH found AS MATERIALIZED (
    SELECT d.* FROM documents d
    WHERE d.id = :id::uuid AND d.user_id = :caller::uuid AND d.deleted_at IS NULL
    FOR UPDATE OF d
), checked AS MATERIALIZED (
    SELECT CASE WHEN gate.verdict = 'user_not_onboarded' THEN gate.verdict
                WHEN found.id IS NULL THEN 'document_not_found'
                WHEN gate.verdict <> 'ok' THEN gate.verdict
                WHEN found.size_bytes <> :size_bytes::bigint THEN 'upload_incomplete'
                ELSE 'ok' END AS verdict
    FROM (SELECT 1) AS always
    LEFT JOIN found ON true
    CROSS JOIN LATERAL wallet_gate(found.trip_id, :caller::uuid, :min_rank::int) gate
), updated AS (
    UPDATE documents d SET stored_at = :now::timestamptz, media_type = :media_type::text
    FROM checked WHERE checked.verdict = 'ok' AND d.id = :id::uuid AND d.stored_at IS NULL
    RETURNING d.*
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
    SELECT :event_id::uuid, 'DOCUMENT_ADDED', 'document-service', d.trip_id, :caller::uuid, 'trip', :now::timestamptz,
           document_json(d)
    FROM updated d WHERE d.trip_id IS NOT NULL
), entry AS (
    INSERT INTO document_audit (id, document_id, user_id, action, network, user_agent, created_at)
    SELECT :audit_id::uuid, d.id, :caller::uuid, 'upload', :network::text, :user_agent::text, :now::timestamptz
    FROM updated d
)
SELECT checked.verdict, found.id, found.user_id, found.trip_id, found.type, found.name, found.description,
       found.metadata::text AS metadata, coalesce(updated.media_type, found.media_type) AS media_type,
       found.size_bytes, found.created_at, found.updated_at
FROM checked LEFT JOIN found ON true LEFT JOIN updated ON true

-- name: page
SELECT gate.verdict, counted.total, d.id, d.user_id, d.trip_id, d.type, d.name, d.description,
       d.metadata::text AS metadata, d.media_type, d.size_bytes, d.created_at, d.updated_at
FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int) gate
LEFT JOIN LATERAL (
    SELECT count(*) AS total FROM documents
    WHERE trip_id = gate.trip_id AND deleted_at IS NULL AND stored_at IS NOT NULL
) counted ON gate.verdict = 'ok'
LEFT JOIN LATERAL (
    SELECT * FROM documents WHERE trip_id = gate.trip_id AND deleted_at IS NULL AND stored_at IS NOT NULL
        AND (:after_at::timestamptz IS NULL OR (created_at, id) < (:after_at::timestamptz, :after_id::uuid))
    ORDER BY created_at DESC, id DESC LIMIT :limit::int OFFSET :offset::int
) d ON gate.verdict = 'ok'
ORDER BY d.created_at DESC, d.id DESC

-- name: own_page
SELECT gate.verdict, counted.total, d.id, d.user_id, d.trip_id, d.type, d.name, d.description,
       d.metadata::text AS metadata, d.media_type, d.size_bytes, d.created_at, d.updated_at
FROM wallet_gate(NULL, :caller::uuid, 1) gate
LEFT JOIN LATERAL (
    SELECT count(*) AS total FROM documents
    WHERE user_id = :caller::uuid AND trip_id IS NULL AND deleted_at IS NULL AND stored_at IS NOT NULL
) counted ON gate.verdict = 'ok'
LEFT JOIN LATERAL (
    SELECT * FROM documents
    WHERE user_id = :caller::uuid AND trip_id IS NULL AND deleted_at IS NULL AND stored_at IS NOT NULL
        AND (:after_at::timestamptz IS NULL OR (created_at, id) < (:after_at::timestamptz, :after_id::uuid))
    ORDER BY created_at DESC, id DESC LIMIT :limit::int OFFSET :offset::int
) d ON gate.verdict = 'ok'
ORDER BY d.created_at DESC, d.id DESC

-- name: one
-- The entry of a repeat has the same id. The action is `view` or `download`.
WITH gate AS MATERIALIZED (
    SELECT * FROM document_gate(:id::uuid, :caller::uuid, :min_rank::int, :own::boolean)
), entry AS (
    INSERT INTO document_audit (id, document_id, user_id, action, network, user_agent, created_at)
    SELECT :audit_id::uuid, document_id, :caller::uuid, :action::text, :network::text, :user_agent::text,
           :now::timestamptz
    FROM gate WHERE verdict = 'ok'
    ON CONFLICT (id) DO NOTHING
)
SELECT gate.verdict, d.id, d.user_id, d.trip_id, d.type, d.name, d.description, d.metadata::text AS metadata,
       d.media_type, d.size_bytes, d.created_at, d.updated_at
FROM gate LEFT JOIN documents d ON gate.verdict = 'ok' AND d.id = gate.document_id

-- name: locked
-- The document before a change, locked until the end of the transaction.
WITH gate AS MATERIALIZED (
    SELECT * FROM document_gate(:id::uuid, :caller::uuid, :min_rank::int, :own::boolean)
), document AS MATERIALIZED (
    SELECT d.* FROM gate JOIN documents d ON gate.verdict = 'ok' AND d.id = gate.document_id
    WHERE d.deleted_at IS NULL
    FOR UPDATE OF d
)
SELECT CASE WHEN gate.verdict = 'ok' AND d.id IS NULL THEN 'document_not_found' ELSE gate.verdict END AS verdict,
       d.id, d.user_id, d.trip_id, d.type, d.name, d.description, d.metadata::text AS metadata,
       d.media_type, d.size_bytes, d.created_at, d.updated_at
FROM gate LEFT JOIN document d ON true

-- name: change
-- A new end is reminded of again.
WITH updated AS (
    UPDATE documents SET type = :type::text, name = :name::text, name_search = :name_search::text, description = :description::text,
        metadata = :metadata::jsonb, ends_on = :ends_on::date, updated_at = :now::timestamptz,
        reminded_days = CASE WHEN ends_on IS NOT DISTINCT FROM :ends_on::date THEN reminded_days END
    WHERE id = :id::uuid
    RETURNING id
)
INSERT INTO document_audit (id, document_id, user_id, action, network, user_agent, created_at)
SELECT :audit_id::uuid, id, :caller::uuid, 'update', :network::text, :user_agent::text, :now::timestamptz
FROM updated
RETURNING document_id

-- name: delete
WITH gate AS MATERIALIZED (
    SELECT * FROM document_gate(:id::uuid, :caller::uuid, :min_rank::int, :own::boolean)
), deleted AS (
    UPDATE documents d SET deleted_at = :now::timestamptz, updated_at = :now::timestamptz
    FROM gate WHERE gate.verdict = 'ok' AND d.id = gate.document_id AND d.deleted_at IS NULL
    RETURNING d.id, d.trip_id
), deleted_key AS (
    -- The same file may be uploaded again at once.
    DELETE FROM replays r USING deleted WHERE r.result_id = deleted.id
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
    SELECT :event_id::uuid, 'DOCUMENT_REMOVED', 'document-service', trip_id, :caller::uuid, 'trip', :now::timestamptz,
           jsonb_build_object('id', id, 'tripId', trip_id)
    FROM deleted WHERE trip_id IS NOT NULL
), entry AS (
    INSERT INTO document_audit (id, document_id, user_id, action, network, user_agent, created_at)
    SELECT :audit_id::uuid, id, :caller::uuid, 'delete', :network::text, :user_agent::text, :now::timestamptz
    FROM deleted
)
SELECT CASE WHEN gate.verdict = 'ok' AND NOT EXISTS (SELECT FROM deleted) THEN 'document_not_found'
            ELSE gate.verdict END AS verdict
FROM gate

-- name: audit
-- The uploader also reads the entries of a deleted document.
WITH gate AS MATERIALIZED (
    SELECT CASE WHEN own.id IS NOT NULL THEN 'ok' ELSE gate.verdict END AS verdict
    FROM document_gate(:id::uuid, :caller::uuid, :min_rank::int, :own::boolean) gate
    LEFT JOIN documents own ON own.id = :id::uuid AND own.user_id = :caller::uuid AND own.stored_at IS NOT NULL
        AND own.deleted_at IS NOT NULL
)
SELECT gate.verdict, e.id, e.user_id, e.action,
       CASE WHEN e.user_id = :caller::uuid THEN e.network END AS network,
       CASE WHEN e.user_id = :caller::uuid THEN e.user_agent END AS user_agent, e.created_at
FROM gate
LEFT JOIN documents d ON gate.verdict = 'ok' AND d.id = :id::uuid
LEFT JOIN LATERAL (
    SELECT * FROM document_audit
    WHERE document_id = d.id AND (d.user_id = :caller::uuid OR user_id = :caller::uuid)
        AND (:after_at::timestamptz IS NULL OR (created_at, id) < (:after_at::timestamptz, :after_id::uuid))
    ORDER BY created_at DESC, id DESC LIMIT :limit::int
) e ON true
ORDER BY e.created_at DESC, e.id DESC

-- name: remind
-- Each document once for a lead. `reminded_days` is its latest lead, the shortest one.
WITH due AS MATERIALIZED (
    SELECT d.id, lead.days
    FROM documents d
    CROSS JOIN LATERAL (
        SELECT min(value::int) AS days FROM jsonb_array_elements_text(:leads::jsonb) AS value
        WHERE value::int >= d.ends_on - :today::date
    ) lead
    WHERE d.ends_on > :today::date AND d.stored_at IS NOT NULL AND d.deleted_at IS NULL AND d.user_id IS NOT NULL
        AND d.ends_on <= :today::date + (SELECT max(value::int) FROM jsonb_array_elements_text(:leads::jsonb) AS value)
        AND (d.reminded_days IS NULL OR lead.days < d.reminded_days)
    ORDER BY d.ends_on LIMIT jsonb_array_length(:event_ids::jsonb)
    FOR UPDATE OF d SKIP LOCKED
), updated AS (
    UPDATE documents d SET reminded_days = due.days FROM due WHERE d.id = due.id
    RETURNING d.*
), numbered AS (
    SELECT updated.*, row_number() OVER (ORDER BY id) AS n FROM updated
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, recipient_id, audience, occurred_at, payload)
    SELECT new.id::uuid, 'document.ends', 'document-service', NULL, NULL, d.user_id, 'internal', :now::timestamptz,
           jsonb_build_object('userId', d.user_id, 'documentId', d.id, 'documentType', d.type, 'name', d.name,
                              'tripId', d.trip_id, 'endsOn', d.ends_on, 'days', d.ends_on - :today::date)
    FROM numbered d
    JOIN jsonb_array_elements_text(:event_ids::jsonb) WITH ORDINALITY AS new (id, n) ON new.n = d.n
    ORDER BY d.n
)
SELECT 1 AS reminded FROM updated

-- name: ending
SELECT d.id, d.name, d.ends_on, p.id AS user_id, p.email, p.username, p.preferences::text AS preferences
FROM documents d JOIN user_profiles p ON p.id = d.user_id
WHERE d.id = :id::uuid AND d.ends_on = :ends_on::date AND d.stored_at IS NOT NULL AND d.deleted_at IS NULL

-- name: expire
-- Reservations that were never completed, documents of deleted trips, and those of users without a profile.
WITH due AS (
    (SELECT id FROM documents
     WHERE stored_at IS NULL AND deleted_at IS NULL AND created_at < :reserved_before::timestamptz
     LIMIT :limit::int)
    UNION
    (SELECT d.id FROM trips t JOIN documents d ON d.trip_id = t.id
     WHERE t.deleted_at IS NOT NULL AND d.deleted_at IS NULL
     LIMIT :limit::int)
    UNION
    (SELECT id FROM documents WHERE user_id IS NULL AND trip_id IS NULL AND deleted_at IS NULL LIMIT :limit::int)
)
UPDATE documents d SET deleted_at = :now::timestamptz, updated_at = :now::timestamptz
FROM due JOIN documents current ON current.id = due.id LEFT JOIN trips t ON t.id = current.trip_id
WHERE d.id = due.id AND d.deleted_at IS NULL
    AND (d.stored_at IS NULL OR t.deleted_at IS NOT NULL OR (d.user_id IS NULL AND d.trip_id IS NULL))
RETURNING 1 AS expired

-- name: with_files
SELECT id FROM documents
WHERE deleted_at IS NOT NULL AND NOT file_is_gone AND deleted_at <= :deleted_before::timestamptz
ORDER BY deleted_at, id LIMIT :limit::int

-- name: file_gone
UPDATE documents SET file_is_gone = true
WHERE deleted_at IS NOT NULL AND id IN (SELECT jsonb_array_elements_text(:ids::jsonb)::uuid)
RETURNING 1 AS changed

-- name: forget
DELETE FROM documents WHERE id IN (
    SELECT id FROM documents WHERE file_is_gone AND deleted_at < :deleted_before::timestamptz
    ORDER BY deleted_at LIMIT :limit::int)
RETURNING 1 AS deleted

-- name: purge_audit
DELETE FROM document_audit WHERE id IN (
    SELECT id FROM document_audit WHERE created_at < :before::timestamptz ORDER BY created_at LIMIT :limit::int)
RETURNING 1 AS deleted
