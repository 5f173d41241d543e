-- Where pushes go, what was pushed, and how much of a trip its members want to hear.

CREATE TABLE user_push_tokens (
    id           uuid PRIMARY KEY,
    user_id      uuid NOT NULL REFERENCES user_profiles (id) ON DELETE CASCADE,
    token        text NOT NULL CHECK (length(token) BETWEEN 1 AND 255),
    device_type  text NOT NULL CHECK (device_type IN ('ios', 'android')),
    is_active    boolean NOT NULL,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    last_used_at timestamptz,
    UNIQUE (user_id, token)
);
-- split
-- A phone is one person's at a time: nobody reads what is pushed to who had it before.
CREATE UNIQUE INDEX user_push_tokens_active ON user_push_tokens (token) WHERE is_active;
-- split
CREATE INDEX user_push_tokens_user ON user_push_tokens (user_id) WHERE is_active;
-- split
CREATE INDEX user_push_tokens_inactive ON user_push_tokens (updated_at) WHERE NOT is_active;
-- split

-- What was handed over for which phone, so that a repeat sends only what is missing. Whoever is about to send has a
-- phone to themselves until `claimed_until`; `sent_at` ends that, and `ticket` asks for the receipt.
CREATE TABLE push_sends (
    push_id       uuid NOT NULL,
    token_id      uuid NOT NULL REFERENCES user_push_tokens (id) ON DELETE CASCADE,
    claimed_until timestamptz NOT NULL,
    sent_at       timestamptz,
    ticket        text,
    PRIMARY KEY (push_id, token_id)
);
-- split
CREATE INDEX push_sends_token ON push_sends (token_id);
-- split
CREATE INDEX push_sends_age ON push_sends (claimed_until);
-- split

CREATE TABLE trip_notification_preferences (
    trip_id     uuid NOT NULL REFERENCES trips (id) ON DELETE CASCADE,
    user_id     uuid NOT NULL REFERENCES user_profiles (id) ON DELETE CASCADE,
    muted_until timestamptz,
    chat        text CHECK (chat IN ('all', 'mentions', 'none')),
    updated_at  timestamptz NOT NULL,
    PRIMARY KEY (trip_id, user_id)
);
-- split
CREATE INDEX trip_notification_preferences_user ON trip_notification_preferences (user_id);
