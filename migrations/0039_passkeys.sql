-- Credentials of WebAuthn with which users sign in without a password.
CREATE TABLE passkeys (
    id            uuid PRIMARY KEY,
    user_id       uuid NOT NULL REFERENCES accounts (user_id) ON DELETE CASCADE,
    credential_id bytea NOT NULL UNIQUE CHECK (octet_length(credential_id) BETWEEN 1 AND 1023),
    public_key    bytea NOT NULL,
    -- Of the authenticator's signatures; 0 if it does not count them.
    sign_count    bigint NOT NULL,
    name          text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    created_at    timestamptz NOT NULL,
    used_at       timestamptz
);
-- split
CREATE INDEX passkeys_user ON passkeys (user_id, created_at, id);
-- split
-- The ways to sign in besides a password. A function reads behind the lock of the account, a statement reads its own
-- snapshot.
CREATE FUNCTION sign_in_count(account uuid) RETURNS bigint LANGUAGE sql VOLATILE
    RETURN (SELECT count(*) FROM identities WHERE user_id = account)
         + (SELECT count(*) FROM passkeys WHERE user_id = account);
-- split
CREATE FUNCTION passkey_count(account uuid) RETURNS bigint LANGUAGE sql VOLATILE
    RETURN (SELECT count(*) FROM passkeys WHERE user_id = account);
