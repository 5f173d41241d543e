-- The second factor of a sign-in: time-based one-time passwords (RFC 6238). A factor counts once it is confirmed.
ALTER TABLE accounts
    ADD COLUMN totp_secret bytea CHECK (octet_length(totp_secret) = 20),
    ADD COLUMN totp_confirmed_at timestamptz,
    -- The time step of the latest accepted code: a code works once.
    ADD COLUMN totp_spent_step bigint,
    -- Hashes of the codes for a user who lost the device; each works once.
    ADD COLUMN recovery_hashes bytea[] NOT NULL DEFAULT '{}',
    ADD CHECK (totp_confirmed_at IS NULL OR totp_secret IS NOT NULL);
