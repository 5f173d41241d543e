-- The device of a session, for the list from which its user ends it.
ALTER TABLE sessions
    -- The header User-Agent of the sign-in; empty without one, and in older sessions.
    ADD COLUMN user_agent text NOT NULL DEFAULT '',
    -- The latest exchange of a refresh token; NULL before the first.
    ADD COLUMN refreshed_at timestamptz;
