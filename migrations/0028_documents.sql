-- Documents in wallets: a user's own, or a trip's. A row is reserved before its file is stored (`stored_at` is NULL), and
-- outlives it, so that every file has a row.
CREATE TABLE documents (
    id            uuid PRIMARY KEY,
    -- Without cascades: the row must outlive whatever it belongs to until its file is gone.
    user_id       uuid REFERENCES user_profiles (id) ON DELETE SET NULL,
    trip_id       uuid REFERENCES trips (id),
    type          text NOT NULL CHECK (type IN (
        'passport', 'visa', 'insurance', 'vaccination', 'loyalty_card', 'flight_booking', 'hotel_booking',
        'reservation', 'receipt', 'other')),
    name          text NOT NULL CHECK (length(name) BETWEEN 1 AND 255),
    description   text CHECK (length(description) <= 2000),
    metadata      jsonb NOT NULL CHECK (jsonb_typeof(metadata) = 'object'),
    -- The last day of a passport, a visa or an insurance, and the days before it of the latest reminder.
    ends_on       date,
    reminded_days integer,
    media_type    text NOT NULL,
    size_bytes    bigint NOT NULL CHECK (size_bytes > 0),
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    stored_at     timestamptz,
    deleted_at    timestamptz,
    file_is_gone  boolean NOT NULL DEFAULT false
);
-- split
CREATE INDEX documents_own ON documents (user_id, created_at DESC, id DESC) WHERE trip_id IS NULL AND deleted_at IS NULL;
-- split
CREATE INDEX documents_trip ON documents (trip_id, created_at DESC, id DESC) WHERE deleted_at IS NULL;
-- split
CREATE INDEX documents_user ON documents (user_id);
-- split
CREATE INDEX documents_reserved ON documents (created_at) WHERE stored_at IS NULL AND deleted_at IS NULL;
-- split
CREATE INDEX documents_with_files ON documents (deleted_at) WHERE deleted_at IS NOT NULL AND NOT file_is_gone;
-- split
CREATE INDEX documents_deleted ON documents (deleted_at) WHERE file_is_gone;
-- split
CREATE INDEX documents_ending ON documents (ends_on)
    WHERE ends_on IS NOT NULL AND stored_at IS NOT NULL AND deleted_at IS NULL;
-- split

CREATE TABLE document_audit (
    id          uuid PRIMARY KEY,
    document_id uuid NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    user_id     uuid NOT NULL REFERENCES user_profiles (id) ON DELETE CASCADE,
    action      text NOT NULL CHECK (action IN ('upload', 'view', 'download', 'update', 'delete')),
    network     text NOT NULL,
    user_agent  text NOT NULL,
    created_at  timestamptz NOT NULL
);
-- split
CREATE INDEX document_audit_document ON document_audit (document_id, created_at DESC, id DESC);
-- split
CREATE INDEX document_audit_user ON document_audit (user_id);
-- split
CREATE INDEX document_audit_created ON document_audit (created_at);
-- split

-- Decides on a caller's request on a document. On a trip its gate decides first; in a user's own wallet, the user alone.
CREATE FUNCTION document_gate(document uuid, caller uuid, min_rank integer, own boolean)
RETURNS TABLE (verdict text, document_id uuid) LANGUAGE sql STABLE AS $$
    SELECT CASE
               WHEN u.id IS NULL THEN 'user_not_onboarded'
               WHEN d.id IS NULL THEN 'document_not_found'
               WHEN d.trip_id IS NULL AND d.user_id IS DISTINCT FROM caller THEN 'not_document_owner'
               WHEN d.trip_id IS NOT NULL AND gate.verdict <> 'ok' THEN gate.verdict
               WHEN d.trip_id IS NOT NULL AND NOT may_change(gate.rank, d.user_id, caller, min_rank, own)
                   THEN 'not_document_owner'
               ELSE 'ok'
           END, d.id
    FROM (SELECT 1) AS always
    LEFT JOIN user_profiles u ON u.id = caller
    LEFT JOIN documents d ON d.id = document AND d.stored_at IS NOT NULL AND d.deleted_at IS NULL
    LEFT JOIN LATERAL trip_gate(d.trip_id, caller, 1) gate ON d.trip_id IS NOT NULL
$$;
-- split

-- As `trip_gate`, also for the caller's own wallet, if `trip` is NULL.
CREATE FUNCTION wallet_gate(trip uuid, caller uuid, min_rank integer)
RETURNS TABLE (verdict text) LANGUAGE sql STABLE AS $$
    SELECT gate.verdict FROM trip_gate(trip, caller, min_rank) gate WHERE trip IS NOT NULL
    UNION ALL
    SELECT CASE WHEN EXISTS (SELECT FROM user_profiles u WHERE u.id = caller) THEN 'ok' ELSE 'user_not_onboarded' END
    WHERE trip IS NULL
$$;
-- split

-- The documents and bytes of a wallet, and whether the same request reserved one before; until the commit, no other
-- transaction reserves room in it. Reserved documents count.
CREATE FUNCTION locked_wallet(trip uuid, person uuid, fingerprint bytea, at timestamptz)
RETURNS TABLE (documents bigint, bytes bigint, is_repeat boolean) LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF trip IS NULL THEN
        PERFORM FROM user_profiles p WHERE p.id = person FOR NO KEY UPDATE;
        RETURN QUERY
        SELECT count(*), coalesce(sum(d.size_bytes), 0)::bigint,
               EXISTS (SELECT FROM replays r WHERE r.key = fingerprint AND r.expires_at > at)
        FROM documents d WHERE d.user_id = person AND d.trip_id IS NULL AND d.deleted_at IS NULL;
    ELSE
        PERFORM FROM trips t WHERE t.id = trip FOR NO KEY UPDATE;
        RETURN QUERY
        SELECT count(*), coalesce(sum(d.size_bytes), 0)::bigint,
               EXISTS (SELECT FROM replays r WHERE r.key = fingerprint AND r.expires_at > at)
        FROM documents d WHERE d.trip_id = trip AND d.deleted_at IS NULL;
    END IF;
END
$$;
-- split

-- A document in events: without description, metadata and file, which its routes give to those who may read them.
CREATE FUNCTION document_json(d documents) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'id', d.id, 'tripId', d.trip_id, 'userId', d.user_id, 'documentType', d.type, 'name', d.name,
        'mimeType', d.media_type, 'fileSize', d.size_bytes, 'createdAt', utc_text(d.created_at))
$$;
