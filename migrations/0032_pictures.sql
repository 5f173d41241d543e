-- Pictures: photos of trips, and avatars, which have no trip. A row is reserved before its files are stored (`stored_at`
-- is NULL) and outlives them, so that every file has a row.
CREATE TABLE pictures (
    id         uuid PRIMARY KEY,
    -- Without cascades: the row must outlive its trip and its user until its files are gone.
    trip_id    uuid REFERENCES trips (id),
    user_id    uuid REFERENCES user_profiles (id) ON DELETE SET NULL,
    media_type text NOT NULL,
    size_bytes bigint NOT NULL CHECK (size_bytes > 0),
    status     text NOT NULL CHECK (status IN ('processing', 'ready', 'failed')),
    -- Of the large rendition.
    width_px   integer CHECK (width_px > 0),
    height_px  integer CHECK (height_px > 0),
    created_at timestamptz NOT NULL,
    stored_at  timestamptz,
    deleted_at timestamptz
);
-- split
CREATE INDEX pictures_trip ON pictures (trip_id, created_at DESC, id DESC) WHERE deleted_at IS NULL;
-- split
CREATE INDEX pictures_user ON pictures (user_id);
-- split
CREATE INDEX pictures_reserved ON pictures (created_at) WHERE stored_at IS NULL AND deleted_at IS NULL;
-- split
CREATE INDEX pictures_deleted ON pictures (deleted_at) WHERE deleted_at IS NOT NULL;
-- split

-- The photos and bytes of a trip, and whether the same request reserved one before; until the commit, no other
-- transaction reserves room on the trip. Reserved photos count.
CREATE FUNCTION locked_album(trip uuid, fingerprint bytea, at timestamptz)
RETURNS TABLE (photos bigint, bytes bigint, is_repeat boolean) LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM FROM trips t WHERE t.id = trip FOR NO KEY UPDATE;
    RETURN QUERY
    SELECT count(*), coalesce(sum(p.size_bytes), 0)::bigint,
           EXISTS (SELECT FROM replays r WHERE r.key = fingerprint AND r.expires_at > at)
    FROM pictures p WHERE p.trip_id = trip AND p.deleted_at IS NULL;
END
$$;
-- split

-- A photo in events: without links, which expire.
CREATE FUNCTION picture_json(p pictures) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_strip_nulls(jsonb_build_object(
        'id', p.id, 'tripId', p.trip_id, 'uploadedBy', p.user_id, 'uploadedAt', utc_text(p.created_at),
        'status', p.status, 'width', p.width_px, 'height', p.height_px))
$$;
-- split

-- An avatar ends when its user's profile no longer refers to it, by whichever write.
CREATE FUNCTION delete_unused_avatars() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    WITH deleted AS (
        UPDATE pictures SET deleted_at = NEW.updated_at
        WHERE user_id = NEW.id AND trip_id IS NULL AND stored_at IS NOT NULL AND deleted_at IS NULL
            AND NEW.avatar_url NOT LIKE '%/' || id
        RETURNING id
    )
    -- The same file may be uploaded again at once.
    DELETE FROM replays r USING deleted WHERE r.result_id = deleted.id;
    RETURN NULL;
END
$$;
-- split
CREATE TRIGGER user_profiles_avatars AFTER UPDATE OF avatar_url ON user_profiles FOR EACH ROW
WHEN (OLD.avatar_url IS DISTINCT FROM NEW.avatar_url)
EXECUTE FUNCTION delete_unused_avatars();
