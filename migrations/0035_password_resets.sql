-- The last request of each account for a new password. The mailed code is derived from the id and a secret of the site.
CREATE TABLE password_resets (
    user_id    uuid PRIMARY KEY REFERENCES accounts (user_id) ON DELETE CASCADE,
    id         uuid NOT NULL UNIQUE,
    mailed_at  timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at    timestamptz
);
