-- Accounts of users at Google and Apple who may sign in to an account here.
CREATE TABLE identities (
    provider   text NOT NULL CHECK (provider IN ('apple', 'google')),
    -- The user's id at the provider.
    subject    text NOT NULL CHECK (length(subject) BETWEEN 1 AND 255),
    user_id    uuid NOT NULL REFERENCES accounts (user_id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (provider, subject),
    UNIQUE (user_id, provider)
);
-- split
-- Nonces that a token was accepted for: a token works once.
CREATE TABLE spent_nonces (
    id         uuid PRIMARY KEY,
    expires_at timestamptz NOT NULL
);
-- split
CREATE INDEX spent_nonces_expired ON spent_nonces (expires_at);
-- split
-- False if the account has a random password that its user does not know.
ALTER TABLE accounts ADD COLUMN has_password boolean NOT NULL DEFAULT true;
-- split
-- A function reads behind the lock of the account, a statement reads its own snapshot.
CREATE FUNCTION identity_count(account uuid) RETURNS bigint LANGUAGE sql VOLATILE
    RETURN (SELECT count(*) FROM identities WHERE user_id = account);
