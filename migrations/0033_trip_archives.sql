-- Imports of trips. The trip of an import counts as deleted until it is finished, so that no route shows a part of it, and
-- so that the sweeps of files delete those of an import that was never finished.

CREATE TABLE trip_imports (
    -- A hash of the user and the archive: the same archive again is the same import.
    fingerprint bytea PRIMARY KEY,
    user_id     uuid NOT NULL REFERENCES user_profiles (id) ON DELETE CASCADE,
    trip_id     uuid NOT NULL UNIQUE REFERENCES trips (id) ON DELETE CASCADE,
    begun_at    timestamptz NOT NULL,
    finished_at timestamptz
);
-- split
CREATE INDEX trip_imports_user ON trip_imports (user_id);
-- split
CREATE INDEX trip_imports_begun ON trip_imports (begun_at);
-- split

-- A person of an imported trip: a name without an account, which no search finds. Its keys are no address and no name
-- that a user can have.
ALTER TABLE user_profiles ADD COLUMN imported_with uuid REFERENCES trips (id) ON DELETE CASCADE;
-- split
CREATE INDEX user_profiles_imported_with ON user_profiles (imported_with) WHERE imported_with IS NOT NULL;
-- split

CREATE FUNCTION is_importing(trip uuid) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM trip_imports i WHERE i.trip_id = trip AND i.finished_at IS NULL)
$$;
-- split

-- Exports that are too large for a reply. Without cascades: the row must outlive whatever it belongs to until its file is
-- gone.
CREATE TABLE trip_exports (
    id           uuid PRIMARY KEY,
    trip_id      uuid NOT NULL REFERENCES trips (id),
    user_id      uuid REFERENCES user_profiles (id) ON DELETE SET NULL,
    with_files   boolean NOT NULL,
    requested_at timestamptz NOT NULL,
    stored_at    timestamptz,
    size_bytes   bigint,
    is_too_large boolean NOT NULL DEFAULT false
);
-- split
CREATE INDEX trip_exports_of ON trip_exports (trip_id, user_id, requested_at DESC);
-- split
CREATE INDEX trip_exports_user ON trip_exports (user_id);
-- split
CREATE INDEX trip_exports_age ON trip_exports (requested_at);
-- split

-- Archives that clients upload to the file store themselves, before they are imported.
CREATE TABLE trip_uploads (
    id          uuid PRIMARY KEY,
    user_id     uuid REFERENCES user_profiles (id) ON DELETE SET NULL,
    size_bytes  bigint NOT NULL,
    reserved_at timestamptz NOT NULL
);
-- split
CREATE INDEX trip_uploads_user ON trip_uploads (user_id);
-- split
CREATE INDEX trip_uploads_age ON trip_uploads (reserved_at);
