-- Files that people send in a chat. What a message shows of its file is kept with the message, wherever that is; the
-- row here says whose the file is, which message has it, and until it is forgotten, that there is a file to delete.

CREATE TABLE attachments (
    id         uuid PRIMARY KEY,
    -- Without a cascade: the row must outlive whatever it belongs to until its file is gone.
    trip_id    uuid NOT NULL REFERENCES trips (id),
    user_id    uuid REFERENCES user_profiles (id) ON DELETE SET NULL,
    type       text NOT NULL,
    size_bytes bigint NOT NULL CHECK (size_bytes > 0),
    name       text NOT NULL CHECK (length(name) BETWEEN 1 AND 255),
    -- Not a reference: messages need not be in this database.
    message_id uuid,
    created_at timestamptz NOT NULL,
    deleted_at timestamptz
);
-- split
CREATE INDEX attachments_trip ON attachments (trip_id);
-- split
CREATE INDEX attachments_user ON attachments (user_id);
-- split
CREATE INDEX attachments_message ON attachments (message_id);
-- split
CREATE INDEX attachments_unused ON attachments (created_at) WHERE message_id IS NULL AND deleted_at IS NULL;
-- split
CREATE INDEX attachments_deleted ON attachments (deleted_at) WHERE deleted_at IS NOT NULL;
-- split

-- `{"id", "type", "size_bytes", "name"}`.
ALTER TABLE chat_messages ADD COLUMN attachment jsonb;
-- split
ALTER TABLE chat_messages DROP CONSTRAINT chat_messages_body_check;
-- split
-- Rows from before fulfil the stricter rule they were written under: they need not be read again.
ALTER TABLE chat_messages ADD CONSTRAINT chat_messages_body_check
    CHECK (length(body) <= 1000 AND (body <> '' OR attachment IS NOT NULL)) NOT VALID;
-- split

CREATE OR REPLACE FUNCTION chat_json(m chat_messages, u user_profiles) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_strip_nulls(jsonb_build_object(
        'messageId', m.id, 'tripId', m.trip_id, 'content', m.body, 'user', person_json(u),
        'timestamp', utc_text(m.created_at), 'replyToId', m.reply_to_id, 'editedAt', utc_text(m.edited_at),
        'attachment', CASE WHEN m.attachment IS NOT NULL THEN jsonb_build_object(
            'id', m.attachment -> 'id', 'type', m.attachment -> 'type',
            'sizeBytes', m.attachment -> 'size_bytes', 'name', m.attachment -> 'name') END,
        'message', jsonb_build_object(
            'id', m.id, 'trip_id', m.trip_id, 'content', m.body, 'sender', person_json(u),
            'created_at', utc_text(m.created_at), 'updated_at', utc_text(m.edited_at),
            'reply_to_id', m.reply_to_id, 'attachment', m.attachment)))
$$;
