-- Keys by which a search of a trip finds its to-dos, polls and documents, made by `core.text`. For ASCII, whose bytes are
-- its characters, PostgreSQL makes the same; the step fills the other rows. For rows that the former version inserts
-- meanwhile PostgreSQL makes all of them; a text that it changes meanwhile is found by its former words until it changes
-- again.
ALTER TABLE todos ADD COLUMN text_search text;
-- split
ALTER TABLE polls ADD COLUMN question_search text;
-- split
ALTER TABLE poll_options ADD COLUMN text_search text;
-- split
ALTER TABLE documents ADD COLUMN name_search text;
-- split
UPDATE todos SET text_search = lower(text) WHERE octet_length(text) = length(text);
-- split
UPDATE polls SET question_search = lower(question) WHERE octet_length(question) = length(question);
-- split
UPDATE poll_options SET text_search = lower(text) WHERE octet_length(text) = length(text);
-- split
UPDATE documents SET name_search = lower(name) WHERE octet_length(name) = length(name);
-- split
-- step: fill_search_keys
-- split

CREATE FUNCTION todo_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.text_search = lower(NEW.text);
    RETURN NEW;
END $$;
-- split
CREATE TRIGGER todo_key BEFORE INSERT ON todos FOR EACH ROW WHEN (NEW.text_search IS NULL) EXECUTE FUNCTION todo_key();
-- split
ALTER TABLE todos ALTER COLUMN text_search SET NOT NULL;
-- split
CREATE FUNCTION poll_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.question_search = lower(NEW.question);
    RETURN NEW;
END $$;
-- split
CREATE TRIGGER poll_key BEFORE INSERT ON polls FOR EACH ROW WHEN (NEW.question_search IS NULL) EXECUTE FUNCTION poll_key();
-- split
ALTER TABLE polls ALTER COLUMN question_search SET NOT NULL;
-- split
CREATE FUNCTION poll_option_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.text_search = lower(NEW.text);
    RETURN NEW;
END $$;
-- split
CREATE TRIGGER poll_option_key BEFORE INSERT ON poll_options FOR EACH ROW WHEN (NEW.text_search IS NULL) EXECUTE FUNCTION poll_option_key();
-- split
ALTER TABLE poll_options ALTER COLUMN text_search SET NOT NULL;
-- split
CREATE FUNCTION document_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.name_search = lower(NEW.name);
    RETURN NEW;
END $$;
-- split
CREATE TRIGGER document_key BEFORE INSERT ON documents FOR EACH ROW WHEN (NEW.name_search IS NULL) EXECUTE FUNCTION document_key();
-- split
ALTER TABLE documents ALTER COLUMN name_search SET NOT NULL;
-- split

-- When the mail of `mail_event_id` was sent, when a reminder was written, and when the job for expired invitations
-- found the row: NULL before that, and again once the invitation is renewed.
ALTER TABLE trip_invitations
    ADD COLUMN mail_sent_at timestamptz,
    ADD COLUMN reminded_at timestamptz,
    ADD COLUMN expired_at timestamptz;
-- split
CREATE INDEX trip_invitations_expiring ON trip_invitations (expires_at) WHERE status = 'PENDING' AND expired_at IS NULL;
