-- The last request of each account for another email address. The mailed code is derived from the id and a secret of
-- the site. `former_email` gets a mail about the change.
CREATE TABLE email_changes (
    user_id      uuid PRIMARY KEY REFERENCES accounts (user_id) ON DELETE CASCADE,
    id           uuid NOT NULL UNIQUE,
    email        text NOT NULL,
    email_key    text NOT NULL,
    former_email text,
    mailed_at    timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL
);
-- split
CREATE INDEX email_changes_expired ON email_changes (expires_at);
-- split
-- The kinds of devices on which an account signed in: a sign-in on another one is mailed to the user.
CREATE TABLE known_devices (
    id         uuid NOT NULL UNIQUE,
    user_id    uuid NOT NULL REFERENCES accounts (user_id) ON DELETE CASCADE,
    -- The hash of the User-Agent without its numbers: a new version of a program is no new device.
    kind       bytea NOT NULL CHECK (octet_length(kind) = 32),
    user_agent text NOT NULL,
    created_at timestamptz NOT NULL,
    seen_at    timestamptz NOT NULL,
    PRIMARY KEY (user_id, kind)
);
-- split
CREATE INDEX known_devices_seen ON known_devices (seen_at);
