-- API keys: credentials of users for programs. Only the SHA-256 of a key's text is stored.
CREATE TABLE api_keys (
    id           uuid PRIMARY KEY,
    user_id      uuid NOT NULL REFERENCES user_profiles (id) ON DELETE CASCADE,
    hash         bytea NOT NULL UNIQUE CHECK (length(hash) = 32),
    name         text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    writes       boolean NOT NULL,
    -- The trips to which the key is limited; NULL for all trips of the user.
    trip_ids     uuid[] CHECK (cardinality(trip_ids) BETWEEN 1 AND 50),
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    last_used_at timestamptz,
    UNIQUE (user_id, name)
);
-- split

CREATE INDEX api_keys_of_user ON api_keys (user_id, created_at DESC, id DESC);
-- split

CREATE INDEX api_keys_by_expiry ON api_keys (expires_at);
-- split

-- Counts behind a lock, so that concurrent requests cannot exceed the limit.
CREATE FUNCTION locked_api_key_count(owner uuid) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(owner::text, 7206037));
    RETURN (SELECT count(*) FROM api_keys k WHERE k.user_id = owner);
END
$$;
