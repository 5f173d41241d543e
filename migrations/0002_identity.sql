-- Accounts of this site's own, their sessions, and registrations whose address nobody has confirmed yet.

CREATE TABLE accounts (
    user_id       uuid PRIMARY KEY REFERENCES user_profiles (id) ON DELETE CASCADE,
    password_hash text NOT NULL,
    confirmed_at  timestamptz,
    is_admin      boolean NOT NULL DEFAULT false,
    -- When the owner was last told that somebody tried to register with their address.
    reminded_at   timestamptz,
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL
);
-- split
CREATE INDEX accounts_created ON accounts (created_at DESC, user_id DESC);
-- split

-- One row per registration, each with the password that was chosen in it: the link in a mail makes an account of the
-- very registration it was sent for, so nobody can slip their password under somebody else's confirmation. There is
-- no profile before that, so an address nobody proved blocks no name and no address.
CREATE TABLE registrations (
    id            uuid PRIMARY KEY,
    email         text NOT NULL CHECK (length(email) <= 255),
    username      text NOT NULL CHECK (length(username) BETWEEN 1 AND 255),
    first_name    text NOT NULL,
    last_name     text NOT NULL,
    password_hash text NOT NULL,
    created_at    timestamptz NOT NULL,
    mailed_at     timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL,
    confirmed_at  timestamptz
);
-- split
CREATE INDEX registrations_email ON registrations (lower(email), created_at DESC);
-- split
CREATE INDEX registrations_username ON registrations (lower(username), created_at DESC);
-- split
CREATE INDEX registrations_expiry ON registrations (expires_at);
-- split

-- A session is a family of refresh tokens: each exchange spends one and makes the next.
CREATE TABLE sessions (
    id         uuid PRIMARY KEY,
    user_id    uuid NOT NULL REFERENCES user_profiles (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz
);
-- split
CREATE INDEX sessions_user ON sessions (user_id);
-- split
CREATE INDEX sessions_expiry ON sessions (expires_at);
-- split

-- Spent tokens stay until they expire: a theft shows when one of them comes back.
CREATE TABLE refresh_tokens (
    hash       bytea PRIMARY KEY,
    session_id uuid NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    issued_at  timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    spent_at   timestamptz
);
-- split
CREATE INDEX refresh_tokens_session ON refresh_tokens (session_id);
-- split
CREATE INDEX refresh_tokens_expiry ON refresh_tokens (expires_at);
