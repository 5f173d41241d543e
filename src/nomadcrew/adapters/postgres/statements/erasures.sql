-- name: request
WITH requested AS (
    INSERT INTO account_deletions AS d (user_id, email, requested_at, due_at)
    SELECT p.id, p.email, :now::timestamptz, :due_at::timestamptz
    FROM user_profiles p WHERE p.id = :user_id::uuid AND p.imported_with IS NULL
    ON CONFLICT (user_id) DO UPDATE SET due_at = least(d.due_at, excluded.due_at)
    RETURNING d.user_id, d.due_at, d.requested_at
), event AS (
    INSERT INTO outbox (id, type, source, audience, occurred_at, payload)
    SELECT :event_id::uuid, 'account.deletion_requested', 'nomadcrew.identity', 'internal', :now::timestamptz,
           jsonb_build_object('user_id', user_id, 'due_at', utc_text(due_at))
    FROM requested WHERE :event_id::uuid IS NOT NULL AND requested_at = :now::timestamptz
)
SELECT due_at FROM requested

-- name: due
SELECT user_id FROM account_deletions WHERE due_at <= :now::timestamptz ORDER BY due_at LIMIT :limit::int

-- name: begin
WITH begun AS (
    UPDATE account_deletions d SET begun_at = coalesce(d.begun_at, :now::timestamptz)
    WHERE d.user_id = :user_id::uuid AND d.due_at <= :now::timestamptz
    RETURNING d.email, d.words
)
SELECT begun.email AS address, begun.words::text AS words, p.email, p.username, p.first_name, p.last_name, p.contact_email,
       c.email AS new_email, c.former_email
FROM begun LEFT JOIN user_profiles p ON p.id = :user_id::uuid LEFT JOIN email_changes c ON c.user_id = p.id

-- name: plan
WITH planned AS (
    UPDATE account_deletions SET words = coalesce(words, :words::jsonb) WHERE user_id = :user_id::uuid RETURNING words
), seen_on AS (
    SELECT m.trip_id FROM trip_memberships m WHERE m.user_id = :user_id::uuid
    UNION SELECT t.id FROM trips t WHERE t.created_by = :user_id::uuid
    UNION SELECT i.trip_id FROM trip_invitations i
    WHERE i.invitee_id = :user_id::uuid OR i.inviter_id = :user_id::uuid
        OR i.email_key IN (SELECT jsonb_array_elements_text(planned.words -> 'keys') FROM planned)
), trips_of AS (
    -- The database makes the ids, since it knows their number.
    INSERT INTO former_members (user_id, trip_id, stand_in_id)
    SELECT :user_id::uuid, trip_id, gen_random_uuid() FROM seen_on
    ON CONFLICT DO NOTHING
    RETURNING trip_id, stand_in_id
)
INSERT INTO user_profiles (id, email, email_key, username, username_key, username_search, first_name,
                           first_name_search, last_name_search, created_at, updated_at, imported_with)
SELECT f.stand_in_id, 'former-' || f.stand_in_id || '@people.invalid', 'former ' || f.stand_in_id,
       'former ' || f.stand_in_id, 'former ' || f.stand_in_id, '', 'Former member', '', '', :now::timestamptz,
       :now::timestamptz, f.trip_id
FROM trips_of f JOIN trips t ON t.id = f.trip_id AND t.deleted_at IS NULL
JOIN trip_memberships m ON m.trip_id = f.trip_id AND m.user_id = :user_id::uuid

-- name: trips
SELECT trip_id, stand_in_id, is_over FROM former_members WHERE user_id = :user_id::uuid ORDER BY trip_id

-- name: leave
SELECT leave_for_good(:user_id::uuid, :trip_id::uuid, :event_id::uuid, :now::timestamptz) AS has_left

-- name: files
WITH over AS (
    SELECT trip_id FROM former_members WHERE user_id = :user_id::uuid AND is_over
)
SELECT 'attachments' AS keeper, id, trip_id FROM attachments
WHERE user_id = :user_id::uuid OR trip_id IN (SELECT trip_id FROM over)
UNION ALL
SELECT 'documents', id, trip_id FROM documents
WHERE user_id = :user_id::uuid
        AND (trip_id IS NULL OR type IN (SELECT value FROM json_array_elements_text(:types::json)))
    OR trip_id IN (SELECT trip_id FROM over)
UNION ALL
SELECT 'pictures', id, trip_id FROM pictures
WHERE user_id = :user_id::uuid OR trip_id IN (SELECT trip_id FROM over)
UNION ALL
SELECT 'exports', id, trip_id FROM trip_exports
WHERE user_id = :user_id::uuid OR trip_id IN (SELECT trip_id FROM over)
UNION ALL
SELECT 'uploads', id, NULL FROM trip_uploads WHERE user_id = :user_id::uuid
LIMIT :limit::int

-- name: forget_files
WITH ids AS MATERIALIZED (
    SELECT value::uuid AS id FROM json_array_elements_text(:ids::json)
), messages AS (
    -- A message is a text or a file: without its file, one without a text is as good as deleted.
    UPDATE chat_messages m
    SET attachment = NULL,
        body = CASE WHEN m.body = '' THEN :tombstone::text ELSE m.body END,
        folded = CASE WHEN m.body = '' THEN '' ELSE m.folded END,
        deleted_at = CASE WHEN m.body = '' THEN coalesce(m.deleted_at, :now::timestamptz) ELSE m.deleted_at END
    FROM attachments a
    WHERE a.id IN (SELECT id FROM ids) AND m.id = a.message_id AND m.attachment IS NOT NULL
), gone_attachments AS (
    DELETE FROM attachments WHERE id IN (SELECT id FROM ids) RETURNING 'attachments' AS kind
), gone_documents AS (
    DELETE FROM documents WHERE id IN (SELECT id FROM ids) RETURNING 'documents'
), gone_pictures AS (
    DELETE FROM pictures WHERE id IN (SELECT id FROM ids) RETURNING 'pictures'
), gone_exports AS (
    DELETE FROM trip_exports WHERE id IN (SELECT id FROM ids) RETURNING 'exports'
), gone_uploads AS (
    DELETE FROM trip_uploads WHERE id IN (SELECT id FROM ids) RETURNING 'uploads'
), gone AS (
    SELECT * FROM gone_attachments UNION ALL SELECT * FROM gone_documents UNION ALL SELECT * FROM gone_pictures
    UNION ALL SELECT * FROM gone_exports UNION ALL SELECT * FROM gone_uploads
)
SELECT add_erased(:user_id::uuid, (
    SELECT jsonb_object_agg(kind, rows) FROM (SELECT kind, count(*) AS rows FROM gone GROUP BY kind) counted)) AS counts

-- name: count
SELECT add_erased(:user_id::uuid, :counts::jsonb) AS counts

-- name: counts
SELECT erased::text AS counts FROM account_deletions WHERE user_id = :user_id::uuid

-- name: finish
DELETE FROM account_deletions WHERE user_id = :user_id::uuid RETURNING 1 AS deleted

-- name: erase_message_edits
WITH gone AS (
    DELETE FROM chat_edits e USING chat_messages m
    WHERE m.id = e.message_id AND m.user_id = :user_id::uuid RETURNING 1
)
SELECT add_erased(:user_id::uuid, jsonb_build_object('messageEdits', count(*))) AS counts FROM gone

-- name: erase_messages
-- A former member is their author; those of trips that are deleted have none.
WITH changed AS (
    UPDATE chat_messages m SET user_id = s.id
    FROM former_members f JOIN user_profiles s ON s.id = f.stand_in_id
    WHERE f.user_id = :user_id::uuid AND m.trip_id = f.trip_id AND m.user_id = f.user_id RETURNING 1
)
SELECT add_erased(:user_id::uuid, jsonb_build_object('authorshipOfMessages', count(*))) AS counts FROM changed

-- name: erase_reactions
WITH gone AS (
    DELETE FROM chat_reactions WHERE user_id = :user_id::uuid RETURNING 1
)
SELECT add_erased(:user_id::uuid, jsonb_build_object('reactions', count(*))) AS counts FROM gone

-- name: erase_read_messages
WITH gone AS (
    DELETE FROM chat_receipts WHERE user_id = :user_id::uuid RETURNING 1
)
SELECT add_erased(:user_id::uuid, jsonb_build_object('readMessages', count(*))) AS counts FROM gone

-- name: erase_todos
WITH changed AS (
    UPDATE todos t SET created_by = s.id
    FROM former_members f JOIN user_profiles s ON s.id = f.stand_in_id
    WHERE f.user_id = :user_id::uuid AND t.trip_id = f.trip_id AND t.created_by = f.user_id RETURNING 1
)
SELECT add_erased(:user_id::uuid, jsonb_build_object('authorshipOfTodos', count(*))) AS counts FROM changed

-- name: erase_polls
WITH changed AS (
    UPDATE polls p
    SET created_by = CASE WHEN p.created_by = f.user_id THEN s.id ELSE p.created_by END,
        closed_by = CASE WHEN p.closed_by = f.user_id THEN s.id ELSE p.closed_by END
    FROM former_members f JOIN user_profiles s ON s.id = f.stand_in_id
    WHERE f.user_id = :user_id::uuid AND p.trip_id = f.trip_id AND f.user_id IN (p.created_by, p.closed_by) RETURNING 1
)
SELECT add_erased(:user_id::uuid, jsonb_build_object('authorshipOfPolls', count(*))) AS counts FROM changed

-- name: erase_poll_options
WITH changed AS (
    UPDATE poll_options o SET created_by = s.id
    FROM polls p, former_members f JOIN user_profiles s ON s.id = f.stand_in_id
    WHERE f.user_id = :user_id::uuid AND o.created_by = f.user_id AND p.id = o.poll_id AND p.trip_id = f.trip_id
    RETURNING 1
)
SELECT add_erased(:user_id::uuid, jsonb_build_object('authorshipOfPolls', count(*))) AS counts FROM changed

-- name: erase_votes
-- The outcome of a poll remains, as when its voter leaves.
WITH changed AS (
    UPDATE poll_votes v SET user_id = s.id
    FROM polls p, former_members f JOIN user_profiles s ON s.id = f.stand_in_id
    WHERE f.user_id = :user_id::uuid AND v.user_id = f.user_id AND p.id = v.poll_id AND p.trip_id = f.trip_id
    RETURNING 1
)
SELECT add_erased(:user_id::uuid, jsonb_build_object('authorshipOfVotes', count(*))) AS counts FROM changed

-- name: erase_documents
WITH changed AS (
    UPDATE documents r
    SET user_id = s.id
    FROM former_members f JOIN user_profiles s ON s.id = f.stand_in_id
    WHERE f.user_id = :user_id::uuid AND r.user_id = f.user_id AND r.trip_id = f.trip_id RETURNING 1
)
SELECT add_erased(:user_id::uuid, jsonb_build_object('authorshipOfDocuments', count(*))) AS counts FROM changed

-- name: erase_document_audit
-- The uploader still sees that a former member read a document, but not from where.
WITH changed AS (
    UPDATE document_audit a SET user_id = s.id, network = '', user_agent = ''
    FROM documents r, former_members f JOIN user_profiles s ON s.id = f.stand_in_id
    WHERE f.user_id = :user_id::uuid AND a.user_id = f.user_id AND r.id = a.document_id AND r.trip_id = f.trip_id
    RETURNING 1
)
SELECT add_erased(:user_id::uuid, jsonb_build_object('authorshipOfAudits', count(*))) AS counts FROM changed

-- name: erase_invitations
WITH gone AS (
    DELETE FROM trip_invitations i USING account_deletions d
    WHERE d.user_id = :user_id::uuid
        AND (i.invitee_id = d.user_id OR i.email_key IN (SELECT jsonb_array_elements_text(d.words -> 'keys')))
    RETURNING 1
)
SELECT add_erased(:user_id::uuid, jsonb_build_object('invitations', count(*))) AS counts FROM gone

-- name: erase_inviter
WITH changed AS (
    UPDATE trip_invitations i SET inviter_id = s.id
    FROM former_members f JOIN user_profiles s ON s.id = f.stand_in_id
    WHERE f.user_id = :user_id::uuid AND i.trip_id = f.trip_id AND i.inviter_id = f.user_id RETURNING 1
)
SELECT add_erased(:user_id::uuid, jsonb_build_object('authorshipOfInvitations', count(*))) AS counts FROM changed

-- name: erase_notifications
WITH gone AS (
    DELETE FROM notifications WHERE user_id = :user_id::uuid RETURNING 1
)
SELECT add_erased(:user_id::uuid, jsonb_build_object('notifications', count(*))) AS counts FROM gone

-- name: erase_positions
WITH gone AS (
    DELETE FROM location_history h USING former_members f
    WHERE f.user_id = :user_id::uuid AND h.trip_id = f.trip_id AND (h.user_id = f.user_id OR f.is_over) RETURNING 1
)
SELECT add_erased(:user_id::uuid, jsonb_build_object('positions', count(*))) AS counts FROM gone

-- name: erase_views
WITH gone AS (
    DELETE FROM position_views WHERE :user_id::uuid IN (owner_id, viewer_id) RETURNING 1
)
SELECT add_erased(:user_id::uuid, jsonb_build_object('viewsOfPositions', count(*))) AS counts FROM gone

-- name: erase_memberships
WITH gone AS (
    DELETE FROM trip_memberships WHERE user_id = :user_id::uuid RETURNING 1
)
SELECT add_erased(:user_id::uuid, jsonb_build_object('memberships', count(*))) AS counts FROM gone

-- name: erase_sessions
WITH gone AS (
    DELETE FROM sessions WHERE user_id = :user_id::uuid RETURNING 1
)
SELECT add_erased(:user_id::uuid, jsonb_build_object('sessions', count(*))) AS counts FROM gone

-- name: erase_devices
WITH gone AS (
    DELETE FROM known_devices WHERE user_id = :user_id::uuid RETURNING 1
)
SELECT add_erased(:user_id::uuid, jsonb_build_object('devices', count(*))) AS counts FROM gone

-- name: erase_identities
WITH gone AS (
    DELETE FROM identities WHERE user_id = :user_id::uuid RETURNING 1
)
SELECT add_erased(:user_id::uuid, jsonb_build_object('identities', count(*))) AS counts FROM gone

-- name: erase_passkeys
WITH gone AS (
    DELETE FROM passkeys WHERE user_id = :user_id::uuid RETURNING 1
)
SELECT add_erased(:user_id::uuid, jsonb_build_object('passkeys', count(*))) AS counts FROM gone

-- name: erase_api_keys
WITH gone AS (
    DELETE FROM api_keys WHERE user_id = :user_id::uuid RETURNING 1
)
SELECT add_erased(:user_id::uuid, jsonb_build_object('apiKeys', count(*))) AS counts FROM gone

-- name: erase_phones
WITH gone AS (
    DELETE FROM user_push_tokens WHERE user_id = :user_id::uuid RETURNING 1
), waiting AS (
    DELETE FROM waiting_push_tokens WHERE user_id = :user_id::uuid RETURNING 1
)
SELECT add_erased(:user_id::uuid, jsonb_build_object(
    'pushTokens', (SELECT count(*) FROM gone) + (SELECT count(*) FROM waiting))) AS counts

-- name: erase_calendars
WITH gone AS (
    DELETE FROM calendars WHERE user_id = :user_id::uuid RETURNING 1
)
SELECT add_erased(:user_id::uuid, jsonb_build_object('calendars', count(*))) AS counts FROM gone

-- name: erase_mail_counts
WITH gone AS (
    DELETE FROM mails_sent m USING account_deletions d
    WHERE d.user_id = :user_id::uuid
        AND m.recipient IN (SELECT jsonb_array_elements_text(d.words -> 'mailboxes'))
    RETURNING 1
)
SELECT add_erased(:user_id::uuid, jsonb_build_object('mailCounts', count(*))) AS counts FROM gone

-- name: erase_registrations
WITH gone AS (
    DELETE FROM registrations r USING account_deletions d
    WHERE d.user_id = :user_id::uuid
        AND (r.id = d.user_id OR r.email_key IN (SELECT jsonb_array_elements_text(d.words -> 'keys')))
    RETURNING 1
)
SELECT add_erased(:user_id::uuid, jsonb_build_object('registrations', count(*))) AS counts FROM gone

-- name: erase_events
WITH gone AS (
    DELETE FROM outbox o USING account_deletions d
    WHERE d.user_id = :user_id::uuid AND (
        o.trip_id IN (SELECT f.trip_id FROM former_members f WHERE f.user_id = d.user_id AND f.is_over)
        OR (o.trip_id IS NULL OR o.audience = 'user') AND (
            d.user_id IN (o.actor_id, o.recipient_id) OR o.payload::text LIKE '%' || d.user_id || '%')
        -- Live copies of notifications, whose sentences have names.
        OR o.audience = 'user' AND o.trip_id IN (SELECT f.trip_id FROM former_members f WHERE f.user_id = d.user_id)
            AND EXISTS (
                SELECT FROM jsonb_array_elements_text(d.words -> 'texts') AS word
                WHERE position(word IN o.payload ->> 'message') > 0))
    RETURNING 1
)
SELECT add_erased(:user_id::uuid, jsonb_build_object('events', count(*))) AS counts FROM gone

-- name: erase_stored_replies
WITH gone AS (
    DELETE FROM replays r USING account_deletions d
    WHERE d.user_id = :user_id::uuid AND r.body IS NOT NULL AND (
        position(convert_to(d.user_id::text, 'UTF8') IN r.body) > 0
        OR EXISTS (
            SELECT FROM jsonb_array_elements_text(d.words -> 'texts') AS word
            WHERE position(convert_to(to_json(word)::text, 'UTF8') IN r.body) > 0))
    RETURNING 1
)
SELECT add_erased(:user_id::uuid, jsonb_build_object('storedReplies', count(*))) AS counts FROM gone

-- name: erase_jobs
WITH gone AS (
    DELETE FROM queue_jobs j USING account_deletions d
    WHERE d.user_id = :user_id::uuid AND (
        position(d.user_id::text IN j.body) > 0
        OR EXISTS (
            SELECT FROM jsonb_array_elements_text(d.words -> 'addresses') AS word WHERE position(word IN j.body) > 0)
        OR j.dead_at IS NOT NULL AND EXISTS (
            SELECT FROM jsonb_array_elements_text(d.words -> 'texts') AS word WHERE position(word IN j.body) > 0))
    RETURNING 1
)
SELECT add_erased(:user_id::uuid, jsonb_build_object('jobs', count(*))) AS counts FROM gone

-- name: erase_trips
WITH gone AS (
    DELETE FROM trips t USING former_members f
    WHERE f.user_id = :user_id::uuid AND f.is_over AND t.id = f.trip_id RETURNING 1
)
SELECT add_erased(:user_id::uuid, jsonb_build_object('trips', count(*))) AS counts FROM gone

-- name: erase_profile
-- The rest of the rows refers to the profile and ends with it.
WITH gone AS (
    DELETE FROM user_profiles WHERE id = :user_id::uuid RETURNING 1
)
SELECT add_erased(:user_id::uuid, jsonb_build_object('profiles', count(*))) AS counts FROM gone

-- name: erase_changes
-- The triggers noted the statements before, too. Members still learn that a membership has ended, by its id.
WITH gone AS (
    DELETE FROM sync_changes c
    WHERE c.scope_id = :user_id::uuid
        OR c.scope_id IN (SELECT trip_id FROM former_members WHERE user_id = :user_id::uuid AND is_over)
        OR c.entity_id = :user_id::uuid AND c.kind = 'receipt'
            AND c.scope_id IN (SELECT trip_id FROM former_members WHERE user_id = :user_id::uuid)
    RETURNING 1
)
SELECT add_erased(:user_id::uuid, jsonb_build_object('changes', count(*))) AS counts FROM gone
