-- A phone that registers before its user has chosen a username is kept for the token's user, and bound with the profile.
CREATE TABLE waiting_push_tokens (
    user_id     uuid NOT NULL,
    token       text NOT NULL CHECK (length(token) BETWEEN 1 AND 255),
    id          uuid NOT NULL,
    device_type text NOT NULL CHECK (device_type IN ('ios', 'android')),
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (user_id, token)
);
-- split
CREATE INDEX waiting_push_tokens_age ON waiting_push_tokens (created_at);
-- split

-- Binds them, at most 20: the newest come last, and the limit of phones keeps those.
CREATE FUNCTION bind_push_tokens() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    waiting waiting_push_tokens;
BEGIN
    FOR waiting IN SELECT * FROM waiting_push_tokens w WHERE w.user_id = NEW.id ORDER BY w.created_at
    LOOP
        PERFORM free_push_token(NEW.id, waiting.token, 20, NEW.updated_at);
        INSERT INTO user_push_tokens
            (id, user_id, token, device_type, is_active, created_at, updated_at, last_used_at)
        VALUES (waiting.id, NEW.id, waiting.token, waiting.device_type, true, waiting.created_at, NEW.updated_at,
                waiting.created_at);
    END LOOP;
    DELETE FROM waiting_push_tokens w WHERE w.user_id = NEW.id;
    RETURN NULL;
END
$$;
-- split
CREATE TRIGGER profiles_made AFTER INSERT ON user_profiles FOR EACH ROW EXECUTE FUNCTION bind_push_tokens();
-- split

CREATE TABLE feedback (
    id         uuid PRIMARY KEY,
    name       text NOT NULL,
    email      text NOT NULL,
    message    text NOT NULL,
    source     text NOT NULL CHECK (source IN ('landing', 'app_bug', 'app_feedback')),
    created_at timestamptz NOT NULL
);
-- split
CREATE INDEX feedback_created ON feedback (created_at DESC, id DESC);
-- split

-- The app takes the creator of a trip for its owner.
UPDATE trips t SET created_by = m.user_id
FROM trip_memberships m
WHERE m.trip_id = t.id AND m.role = 'OWNER' AND m.status = 'ACTIVE' AND t.created_by IS DISTINCT FROM m.user_id
    AND NOT EXISTS (SELECT FROM trip_memberships o WHERE o.trip_id = t.id AND o.user_id = t.created_by
                        AND o.role = 'OWNER' AND o.status = 'ACTIVE');
-- split

-- A role as events write it for the app.
CREATE FUNCTION role_word(role text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE role WHEN 'OWNER' THEN 'owner' WHEN 'ADMIN' THEN 'admin' ELSE 'member' END
$$;
