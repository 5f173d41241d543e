-- The chat of trips. A thread's row is what gives its messages their order: whoever writes holds it until the commit,
-- so that a message becomes visible before those with a higher number are made.

CREATE TABLE chat_threads (
    trip_id  uuid PRIMARY KEY REFERENCES trips (id) ON DELETE CASCADE,
    last_seq bigint NOT NULL,
    last_at  timestamptz NOT NULL
) WITH (fillfactor = 50);
-- split

CREATE TABLE chat_messages (
    id          uuid PRIMARY KEY,
    trip_id     uuid NOT NULL REFERENCES trips (id) ON DELETE CASCADE,
    seq         bigint NOT NULL,
    user_id     uuid REFERENCES user_profiles (id) ON DELETE SET NULL,
    body        text NOT NULL CHECK (length(body) BETWEEN 1 AND 1000),
    -- Case-folded by the application, whose rules for that are the same wherever messages are kept.
    folded      text NOT NULL,
    reply_to_id uuid,
    -- The event that told of it, whose copy of the text goes when the message is deleted.
    event_id    uuid NOT NULL,
    created_at  timestamptz NOT NULL,
    edited_at   timestamptz,
    deleted_at  timestamptz,
    UNIQUE (trip_id, seq)
);
-- split
CREATE INDEX chat_messages_user ON chat_messages (user_id);
-- split

-- What a message said before it was edited.
CREATE TABLE chat_edits (
    event_id   uuid PRIMARY KEY,
    message_id uuid NOT NULL REFERENCES chat_messages (id) ON DELETE CASCADE,
    body       text NOT NULL,
    edited_at  timestamptz NOT NULL
);
-- split
CREATE INDEX chat_edits_message ON chat_edits (message_id, edited_at);
-- split

CREATE TABLE chat_reactions (
    message_id uuid NOT NULL REFERENCES chat_messages (id) ON DELETE CASCADE,
    user_id    uuid NOT NULL REFERENCES user_profiles (id) ON DELETE CASCADE,
    emoji      text NOT NULL CHECK (length(emoji) BETWEEN 1 AND 10),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (message_id, user_id, emoji)
);
-- split
CREATE INDEX chat_reactions_user ON chat_reactions (user_id);
-- split

CREATE TABLE chat_receipts (
    trip_id    uuid NOT NULL REFERENCES trips (id) ON DELETE CASCADE,
    user_id    uuid NOT NULL REFERENCES user_profiles (id) ON DELETE CASCADE,
    message_id uuid NOT NULL REFERENCES chat_messages (id) ON DELETE CASCADE,
    seq        bigint NOT NULL,
    read_at    timestamptz NOT NULL,
    PRIMARY KEY (trip_id, user_id)
) WITH (fillfactor = 70);
-- split
CREATE INDEX chat_receipts_user ON chat_receipts (user_id);
-- split
CREATE INDEX chat_receipts_message ON chat_receipts (message_id);
-- split

-- What people are called: as `core.names` has it.
CREATE FUNCTION display_name(u user_profiles) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(nullif(trim(BOTH ' ' FROM u.first_name || ' ' || u.last_name), ''), u.username)
$$;
-- split

-- A person as events carry them; what is not set is left out, since the client takes absent but not null.
CREATE FUNCTION person_json(u user_profiles) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT jsonb_strip_nulls(
        jsonb_build_object('id', u.id, 'name', display_name(u), 'avatar', nullif(u.avatar_url, '')))
$$;
-- split

-- A message as events carry it, in both of the forms that clients read.
CREATE FUNCTION chat_json(m chat_messages, u user_profiles) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_strip_nulls(jsonb_build_object(
        'messageId', m.id, 'tripId', m.trip_id, 'content', m.body, 'user', person_json(u),
        'timestamp', utc_text(m.created_at), 'replyToId', m.reply_to_id, 'editedAt', utc_text(m.edited_at),
        'message', jsonb_build_object(
            'id', m.id, 'trip_id', m.trip_id, 'content', m.body, 'sender', person_json(u),
            'created_at', utc_text(m.created_at), 'updated_at', utc_text(m.edited_at),
            'reply_to_id', m.reply_to_id)))
$$;
-- split

-- Where a cursor points in a trip's chat: at a number, or at a message of the trip; NULL where it points nowhere.
CREATE FUNCTION chat_place(trip uuid, number bigint, message uuid) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN message IS NULL THEN number
                ELSE (SELECT seq FROM chat_messages WHERE id = message AND trip_id = trip) END
$$;
-- split

-- How often each reaction was given to a message, the oldest first, and whether by the caller.
CREATE FUNCTION chat_reaction_counts(message uuid, caller uuid) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_agg(jsonb_build_object('emoji', emoji, 'count', count, 'mine', mine) ORDER BY first, emoji)
    FROM (
        SELECT emoji, count(*) AS count, bool_or(user_id = caller) AS mine, min(created_at) AS first
        FROM chat_reactions WHERE message_id = message GROUP BY emoji
    ) AS counted
$$;
