-- What changed, for clients that synchronise. A row per entity says in which transaction it changed last; triggers keep
-- it in the transaction of the write. A scope is a trip, or a user for what only that user sees.
CREATE TABLE sync_changes (
    scope_id   uuid NOT NULL,
    kind       text NOT NULL,
    entity_id  uuid NOT NULL,
    -- Compared with the snapshot in a client's cursor, so that late commits are not missed.
    written    xid8 NOT NULL,
    deleted_at timestamptz,
    PRIMARY KEY (scope_id, kind, entity_id)
);
-- split
CREATE INDEX sync_changes_order ON sync_changes (scope_id, written, kind, entity_id);
-- split
CREATE INDEX sync_changes_deleted ON sync_changes (deleted_at) WHERE deleted_at IS NOT NULL;
-- split

-- The numbers of transactions are those of this database. A restored backup starts another epoch, which ends all cursors.
CREATE TABLE sync_epoch (
    id      uuid NOT NULL,
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only)
);
-- split
INSERT INTO sync_epoch (id) VALUES (gen_random_uuid());
-- split
CREATE FUNCTION renew_sync_epoch() RETURNS void LANGUAGE sql VOLATILE AS $$
    DELETE FROM sync_changes WHERE deleted_at IS NOT NULL;
    UPDATE sync_changes SET written = pg_current_xact_id();
    UPDATE sync_epoch SET id = gen_random_uuid();
$$;
-- split

-- A trigger and a function per table and operation. `source` selects scope and entity from the written
-- rows, which are `changed`; `gone` is true for an entity that is no longer shown. The names begin with `changes`, so
-- that these triggers run before those that renew cards, whose locks come last.
DO $do$
DECLARE
    one       record;
    operation record;
BEGIN
    FOR one IN SELECT * FROM (VALUES
        ('todos', 'todo', 'SELECT trip_id AS scope, id AS entity, deleted_at IS NOT NULL AS gone FROM changed'),
        ('chat_messages', 'message', 'SELECT trip_id AS scope, id AS entity, false AS gone FROM changed'),
        ('chat_reactions', 'message', 'SELECT m.trip_id AS scope, m.id AS entity, false AS gone FROM chat_messages m
                                       WHERE m.id IN (SELECT message_id FROM changed)'),
        ('chat_receipts', 'receipt', 'SELECT trip_id AS scope, user_id AS entity, false AS gone FROM changed'),
        ('polls', 'poll', 'SELECT trip_id AS scope, id AS entity, deleted_at IS NOT NULL AS gone FROM changed'),
        ('poll_options', 'poll', 'SELECT p.trip_id AS scope, p.id AS entity, p.deleted_at IS NOT NULL AS gone
                                  FROM polls p WHERE p.id IN (SELECT poll_id FROM changed)'),
        ('poll_votes', 'poll', 'SELECT p.trip_id AS scope, p.id AS entity, p.deleted_at IS NOT NULL AS gone
                                FROM polls p WHERE p.id IN (SELECT poll_id FROM changed)'),
        ('documents', 'document', 'SELECT coalesce(trip_id, user_id) AS scope, id AS entity,
                                          deleted_at IS NOT NULL OR stored_at IS NULL AS gone FROM changed'),
        ('pictures', 'photo', 'SELECT trip_id AS scope, id AS entity,
                                      deleted_at IS NOT NULL OR stored_at IS NULL AS gone FROM changed'),
        ('trip_invitations', 'invitation', 'SELECT trip_id AS scope, id AS entity, false AS gone FROM changed'),
        ('trip_memberships', 'member', 'SELECT trip_id AS scope, id AS entity, status <> ''ACTIVE'' AS gone FROM changed'),
        ('notifications', 'notification', 'SELECT user_id AS scope, id AS entity, false AS gone FROM changed'),
        ('location_sharing', 'sharing', 'SELECT user_id AS scope, trip_id AS entity, false AS gone FROM changed'),
        ('trip_notification_preferences', 'tripPreferences',
         'SELECT user_id AS scope, trip_id AS entity, false AS gone FROM changed')
    ) AS v (of_table, kind, source)
    LOOP
        FOR operation IN SELECT * FROM (VALUES
            -- An update that changes nothing is no change.
            ('made', '(SELECT * FROM after EXCEPT SELECT * FROM before)'),
            ('added', '(SELECT * FROM after)'),
            ('deleted', '(SELECT * FROM before)')
        ) AS v (name, rows)
        LOOP
            EXECUTE format($f$
                CREATE FUNCTION note_%5$s_%1$s() RETURNS trigger LANGUAGE plpgsql AS $body$
                BEGIN
                    WITH changed AS %6$s
                    INSERT INTO sync_changes AS c (scope_id, kind, entity_id, written, deleted_at)
                    SELECT scope, %2$L, entity, pg_current_xact_id(), CASE WHEN %4$s THEN now() END
                    FROM (%3$s) AS source WHERE scope IS NOT NULL
                    ORDER BY scope, entity
                    ON CONFLICT (scope_id, kind, entity_id) DO UPDATE
                    SET written = excluded.written, deleted_at = excluded.deleted_at;
                    RETURN NULL;
                END
                $body$ $f$, one.of_table, one.kind, one.source,
                -- The row of a parent stays when those of its children are deleted.
                CASE WHEN operation.name = 'deleted'
                     AND one.of_table NOT IN ('chat_reactions', 'poll_options', 'poll_votes') THEN 'true' ELSE 'gone' END,
                operation.name, operation.rows);
        END LOOP;
        EXECUTE format('CREATE TRIGGER changes_added AFTER INSERT ON %1$I REFERENCING NEW TABLE AS after
                        FOR EACH STATEMENT EXECUTE FUNCTION note_added_%1$s()', one.of_table);
        EXECUTE format('CREATE TRIGGER changes_made AFTER UPDATE ON %1$I
                        REFERENCING OLD TABLE AS before NEW TABLE AS after
                        FOR EACH STATEMENT EXECUTE FUNCTION note_made_%1$s()', one.of_table);
        EXECUTE format('CREATE TRIGGER changes_deleted AFTER DELETE ON %1$I REFERENCING OLD TABLE AS before
                        FOR EACH STATEMENT EXECUTE FUNCTION note_deleted_%1$s()', one.of_table);
    END LOOP;
END
$do$;
-- split

CREATE FUNCTION note_change(scope uuid, kind text, entity uuid, gone boolean) RETURNS void LANGUAGE sql VOLATILE AS $$
    INSERT INTO sync_changes AS c (scope_id, kind, entity_id, written, deleted_at)
    VALUES (scope, kind, entity, pg_current_xact_id(), CASE WHEN gone THEN now() END)
    ON CONFLICT (scope_id, kind, entity_id) DO UPDATE
    SET written = excluded.written, deleted_at = excluded.deleted_at
$$;
-- split

-- A trip as its members see it, names included, is its card.
CREATE FUNCTION note_change_of_card() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM note_change(NEW.trip_id, 'trip', NEW.trip_id, false);
    RETURN NULL;
END
$$;
-- split
CREATE TRIGGER changes_added AFTER INSERT ON trip_cards FOR EACH ROW EXECUTE FUNCTION note_change_of_card();
-- split
CREATE TRIGGER changes_made AFTER UPDATE ON trip_cards FOR EACH ROW
WHEN (OLD.body IS DISTINCT FROM NEW.body) EXECUTE FUNCTION note_change_of_card();
-- split

-- `access` and `rank` are rows of a user, each for a trip: when the user came to the trip or left it, and when the user's
-- role changed there. A member who leaves takes along assignments and a receipt.
CREATE FUNCTION note_change_of_access() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    membership trip_memberships := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
    was        text := CASE WHEN TG_OP = 'INSERT' THEN 'INACTIVE' ELSE OLD.status END;
    will_be    text := CASE WHEN TG_OP = 'DELETE' THEN 'INACTIVE' ELSE NEW.status END;
BEGIN
    IF was <> will_be THEN
        PERFORM note_change(membership.user_id, 'access', membership.trip_id, will_be <> 'ACTIVE');
        PERFORM note_change(membership.user_id, 'tripPreferences', p.trip_id, false) FROM trip_notification_preferences p
        WHERE p.trip_id = membership.trip_id AND p.user_id = membership.user_id;
        PERFORM note_change(membership.trip_id, 'receipt', membership.user_id, false) FROM chat_receipts r
        WHERE r.trip_id = membership.trip_id AND r.user_id = membership.user_id;
        PERFORM note_change(membership.trip_id, 'todo', assigned.id, false) FROM (
            SELECT t.id FROM todos t
            WHERE t.trip_id = membership.trip_id AND t.assignee_id = membership.user_id AND t.deleted_at IS NULL
            ORDER BY t.id
        ) AS assigned;
    ELSIF TG_OP = 'UPDATE' AND OLD.role <> NEW.role THEN
        PERFORM note_change(NEW.user_id, 'rank', NEW.trip_id, false);
    END IF;
    RETURN NULL;
END
$$;
-- split
CREATE TRIGGER changes_of_access AFTER INSERT OR UPDATE OR DELETE ON trip_memberships FOR EACH ROW
EXECUTE FUNCTION note_change_of_access();
-- split

CREATE FUNCTION note_change_of_trip() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.deleted_at IS DISTINCT FROM NEW.deleted_at THEN
        PERFORM note_change(user_id, 'access', NEW.id, NEW.deleted_at IS NOT NULL) FROM (
            SELECT m.user_id FROM trip_memberships m WHERE m.trip_id = NEW.id AND m.status = 'ACTIVE' ORDER BY m.user_id
        ) AS crew;
    END IF;
    IF OLD.name <> NEW.name THEN
        PERFORM note_change(user_id, 'sharing', NEW.id, false) FROM (
            SELECT s.user_id FROM location_sharing s WHERE s.trip_id = NEW.id ORDER BY s.user_id
        ) AS sharers;
    END IF;
    RETURN NULL;
END
$$;
-- split
CREATE TRIGGER changes_of_trip AFTER UPDATE OF deleted_at, name ON trips FOR EACH ROW
EXECUTE FUNCTION note_change_of_trip();
-- split

CREATE FUNCTION note_change_of_profile() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD IS NOT DISTINCT FROM NEW THEN
        RETURN NULL;
    END IF;
    PERFORM note_change(NEW.id, 'preferences', NEW.id, false);
    PERFORM note_change(NEW.id, 'profile', NEW.id, false);
    IF TG_OP = 'UPDATE' AND (OLD.email, OLD.username, OLD.first_name, OLD.last_name, OLD.avatar_url)
        IS DISTINCT FROM (NEW.email, NEW.username, NEW.first_name, NEW.last_name, NEW.avatar_url)
    THEN
        PERFORM note_change(trip_id, 'member', id, false) FROM (
            SELECT m.trip_id, m.id FROM trip_memberships m WHERE m.user_id = NEW.id AND m.status = 'ACTIVE'
            ORDER BY m.trip_id
        ) AS own;
    END IF;
    RETURN NULL;
END
$$;
-- split
CREATE TRIGGER changes_of_profile AFTER INSERT OR UPDATE ON user_profiles FOR EACH ROW
EXECUTE FUNCTION note_change_of_profile();
-- split

INSERT INTO sync_changes (scope_id, kind, entity_id, written)
SELECT scope, kind, entity, pg_current_xact_id() FROM (
    SELECT trip_id AS scope, 'trip' AS kind, trip_id AS entity FROM trip_cards
    UNION ALL SELECT trip_id, 'member', id FROM trip_memberships WHERE status = 'ACTIVE'
    UNION ALL SELECT user_id, 'access', trip_id FROM trip_memberships WHERE status = 'ACTIVE'
    UNION ALL SELECT trip_id, 'invitation', id FROM trip_invitations
    UNION ALL SELECT trip_id, 'todo', id FROM todos WHERE deleted_at IS NULL
    UNION ALL SELECT trip_id, 'message', id FROM chat_messages
    UNION ALL SELECT trip_id, 'receipt', user_id FROM chat_receipts
    UNION ALL SELECT trip_id, 'poll', id FROM polls WHERE deleted_at IS NULL
    UNION ALL SELECT coalesce(trip_id, user_id), 'document', id FROM documents
              WHERE deleted_at IS NULL AND stored_at IS NOT NULL AND coalesce(trip_id, user_id) IS NOT NULL
    UNION ALL SELECT trip_id, 'photo', id FROM pictures
              WHERE trip_id IS NOT NULL AND deleted_at IS NULL AND stored_at IS NOT NULL
    UNION ALL SELECT user_id, 'notification', id FROM notifications
    UNION ALL SELECT user_id, 'sharing', trip_id FROM location_sharing
    UNION ALL SELECT user_id, 'tripPreferences', trip_id FROM trip_notification_preferences
    UNION ALL SELECT id, 'profile', id FROM user_profiles
    UNION ALL SELECT id, 'preferences', id FROM user_profiles
) AS entities;
-- split

-- Rows as the records of the core that the API's views are made of: the fields of its structs, and arrays for its tuples.
CREATE FUNCTION todo_record(t todos) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object(
        'id', t.id, 'trip_id', t.trip_id, 'text', t.text, 'status', t.status, 'created_by', t.created_by,
        'created_at', t.created_at, 'updated_at', t.updated_at, 'assignee_id', todo_assignee(t), 'due_at', t.due_at,
        'position', t.position)
$$;
-- split
CREATE FUNCTION member_record(m trip_memberships, p user_profiles) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_array(
        m.id, m.trip_id, m.user_id, m.role, m.status, m.created_at, m.updated_at, p.email, p.username, p.first_name,
        p.last_name, p.avatar_url)
$$;
-- split
CREATE FUNCTION invitation_record(i trip_invitations) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object(
        'id', i.id, 'trip_id', i.trip_id, 'inviter_id', i.inviter_id, 'invitee_email', i.invitee_email,
        'invitee_id', i.invitee_id, 'role', i.role, 'status', i.status, 'expires_at', i.expires_at,
        'created_at', i.created_at, 'updated_at', i.updated_at)
$$;
-- split
CREATE FUNCTION sender_record(u user_profiles) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN u.id IS NOT NULL THEN
        json_build_object('id', u.id, 'name', display_name(u), 'avatar', u.avatar_url) END
$$;
-- split
CREATE FUNCTION message_record(m chat_messages, caller uuid) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object(
        'id', m.id, 'trip_id', m.trip_id,
        'sender', (SELECT sender_record(u) FROM user_profiles u WHERE u.id = m.user_id),
        'text', m.body, 'reply_to_id', m.reply_to_id, 'created_at', m.created_at, 'edited_at', m.edited_at,
        'deleted_at', m.deleted_at, 'reactions', coalesce(chat_reaction_counts(m.id, caller), '[]'::jsonb),
        'attachment', CASE WHEN m.attachment IS NOT NULL THEN json_build_object(
            'id', m.attachment -> 'id', 'kind', m.attachment -> 'type', 'size_bytes', m.attachment -> 'size_bytes',
            'name', m.attachment -> 'name') END)
$$;
-- split
CREATE FUNCTION reaction_records(m chat_messages) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT coalesce(json_agg(json_build_object(
        'message_id', m.id, 'trip_id', m.trip_id, 'user_id', r.user_id, 'emoji', r.emoji, 'created_at', r.created_at)
        ORDER BY r.created_at, r.user_id, r.emoji), '[]'::json)
    FROM chat_reactions r WHERE r.message_id = m.id
$$;
-- split
CREATE FUNCTION receipt_record(r chat_receipts, u user_profiles) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object('reader', sender_record(u), 'message_id', r.message_id, 'read_at', r.read_at)
$$;
-- split
CREATE FUNCTION poll_record(p polls) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object(
        'id', p.id, 'trip_id', p.trip_id, 'question', p.question, 'kind', p.kind, 'ballot', p.ballot,
        'allow_multiple_votes', p.allow_multiple_votes, 'members_add_options', p.members_add_options,
        'closes_automatically', p.closes_automatically, 'status', p.status, 'created_by', p.created_by,
        'closed_by', p.closed_by, 'closed_at', p.closed_at, 'expires_at', p.expires_at, 'created_at', p.created_at,
        'updated_at', p.updated_at,
        'applied', CASE WHEN p.applied_as IS NOT NULL THEN json_build_object(
            'target', p.applied_as, 'option_id', p.applied_option_id, 'at', p.applied_at, 'todo_id', p.applied_todo_id) END,
        'options', (
            SELECT json_agg(json_build_object(
                'id', o.option_id, 'text', o.option_text, 'position', o.position, 'created_by', o.option_created_by,
                'created_at', o.option_created_at,
                'days', CASE WHEN o.first_day IS NOT NULL THEN
                    json_build_object('first', o.first_day, 'last', o.last_day) END,
                'votes', coalesce(o.votes, '[]')::json) ORDER BY o.position)
            FROM poll_options_of(p.id) o))
$$;
-- split
CREATE FUNCTION document_record(d documents) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object(
        'id', d.id, 'user_id', d.user_id, 'trip_id', d.trip_id, 'type', d.type, 'name', d.name,
        'description', d.description, 'metadata', d.metadata, 'kind', d.media_type, 'size_bytes', d.size_bytes,
        'created_at', d.created_at, 'updated_at', d.updated_at)
$$;
-- split
CREATE FUNCTION picture_record(p pictures) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object(
        'id', p.id, 'trip_id', p.trip_id, 'user_id', p.user_id, 'kind', p.media_type, 'size_bytes', p.size_bytes,
        'status', p.status, 'width_px', p.width_px, 'height_px', p.height_px, 'created_at', p.created_at)
$$;
-- split
CREATE FUNCTION notification_record(n notifications) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_array(n.id, n.type, '', n.metadata::text, n.is_read, n.created_at)
$$;
-- split
CREATE FUNCTION profile_record(p user_profiles) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object(
        'id', p.id, 'email', p.email, 'username', p.username, 'first_name', p.first_name, 'last_name', p.last_name,
        'avatar_url', p.avatar_url, 'contact_email', p.contact_email,
        'location_privacy_preference', p.location_privacy_preference, 'preferences', p.preferences,
        'created_at', p.created_at, 'updated_at', p.updated_at)
$$;
-- split
CREATE FUNCTION sharing_record(s location_sharing, t trips) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object('trip_id', t.id, 'trip_name', t.name, 'sharing', json_build_object(
        'is_enabled', s.is_enabled, 'privacy', s.privacy, 'expires_at', s.expires_at,
        'ends_at', sharing_end(t.end_date)))
$$;
