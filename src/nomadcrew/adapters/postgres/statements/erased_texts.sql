-- name: messages_with_mentions
SELECT m.id, m.body FROM former_members f JOIN chat_messages m ON m.trip_id = f.trip_id
WHERE f.user_id = :user_id::uuid AND m.id > :after::uuid AND position(:mention::text IN m.folded) > 0
ORDER BY m.id LIMIT :limit::int

-- name: rewrite_messages
WITH changed AS (
    UPDATE chat_messages m SET body = r.body, folded = r.folded
    FROM jsonb_to_recordset(:rows::jsonb) AS r (id uuid, body text, folded text)
    WHERE m.id = r.id RETURNING 1
)
SELECT add_erased(:user_id::uuid, jsonb_build_object('mentions', count(*))) AS counts FROM changed

-- name: edits_with_mentions
SELECT e.event_id AS id, e.body
FROM former_members f JOIN chat_messages m ON m.trip_id = f.trip_id JOIN chat_edits e ON e.message_id = m.id
WHERE f.user_id = :user_id::uuid AND e.event_id > :after::uuid AND position('@' IN e.body) > 0
ORDER BY e.event_id LIMIT :limit::int

-- name: rewrite_edits
WITH changed AS (
    UPDATE chat_edits e SET body = r.body
    FROM jsonb_to_recordset(:rows::jsonb) AS r (id uuid, body text)
    WHERE e.event_id = r.id RETURNING 1
)
SELECT add_erased(:user_id::uuid, jsonb_build_object('mentions', count(*))) AS counts FROM changed

-- name: notifications_with_person
-- Those of the members of the user's trips, and of the users who were invited to them.
WITH readers AS MATERIALIZED (
    SELECT m.user_id FROM former_members f JOIN trip_memberships m ON m.trip_id = f.trip_id
    WHERE f.user_id = :user_id::uuid AND m.user_id <> f.user_id
    UNION
    SELECT i.invitee_id FROM former_members f JOIN trip_invitations i ON i.trip_id = f.trip_id
    WHERE f.user_id = :user_id::uuid AND i.invitee_id <> f.user_id
)
SELECT n.id, n.metadata::text AS body
FROM readers r JOIN notifications n ON n.user_id = r.user_id JOIN account_deletions d ON d.user_id = :user_id::uuid
WHERE n.id > :after::uuid AND (
    position(d.user_id::text IN n.metadata::text) > 0 OR position('@' IN n.metadata::text) > 0
    OR EXISTS (SELECT FROM jsonb_array_elements_text(d.words -> 'texts') AS word
               WHERE position(to_json(word)::text IN n.metadata::text) > 0))
ORDER BY n.id LIMIT :limit::int

-- name: rewrite_notifications
WITH changed AS (
    UPDATE notifications n SET metadata = r.body::jsonb
    FROM jsonb_to_recordset(:rows::jsonb) AS r (id uuid, body text)
    WHERE n.id = r.id RETURNING 1
)
SELECT add_erased(:user_id::uuid, jsonb_build_object('notificationsOfOthers', count(*))) AS counts FROM changed

-- name: events_with_person
-- Events of trips that go on, for clients that reconnect: the former member is their actor.
SELECT o.id, f.trip_id, o.payload::text AS body,
       o.actor_id IS NOT DISTINCT FROM f.user_id OR o.recipient_id IS NOT DISTINCT FROM f.user_id AS is_own
FROM former_members f JOIN outbox o ON o.trip_id = f.trip_id JOIN account_deletions d ON d.user_id = f.user_id
WHERE f.user_id = :user_id::uuid AND o.id > :after::uuid AND (
    f.user_id IN (o.actor_id, o.recipient_id)
    OR position(d.user_id::text IN o.payload::text) > 0 OR position('@' IN o.payload::text) > 0
    OR EXISTS (SELECT FROM jsonb_array_elements_text(d.words -> 'texts') AS word
               WHERE position(to_json(word)::text IN o.payload::text) > 0))
ORDER BY o.id LIMIT :limit::int

-- name: rewrite_events
WITH changed AS (
    UPDATE outbox o
    SET actor_id = CASE WHEN o.actor_id = f.user_id THEN f.stand_in_id ELSE o.actor_id END,
        recipient_id = CASE WHEN o.recipient_id = f.user_id THEN NULL ELSE o.recipient_id END,
        payload = r.body::jsonb
    FROM jsonb_to_recordset(:rows::jsonb) AS r (id uuid, body text), former_members f
    WHERE o.id = r.id AND f.user_id = :user_id::uuid AND f.trip_id = o.trip_id
    RETURNING 1
)
SELECT add_erased(:user_id::uuid, jsonb_build_object('authorshipOfEvents', count(*))) AS counts FROM changed

-- name: documents_of_trips
SELECT r.id, f.trip_id, r.metadata::text AS body
FROM former_members f JOIN documents r ON r.trip_id = f.trip_id AND r.user_id = f.user_id
WHERE f.user_id = :user_id::uuid AND r.id > :after::uuid
ORDER BY r.id LIMIT :limit::int

-- name: rewrite_documents
UPDATE documents d SET metadata = r.body::jsonb
FROM jsonb_to_recordset(:rows::jsonb) AS r (id uuid, body text)
WHERE d.id = r.id
RETURNING 1 AS changed

-- name: feedback_authors
SELECT id, email AS body FROM feedback WHERE id > :after::uuid ORDER BY id LIMIT :limit::int

-- name: rewrite_feedback
WITH changed AS (
    UPDATE feedback b SET name = 'Former member', email = ''
    FROM jsonb_to_recordset(:rows::jsonb) AS r (id uuid)
    WHERE b.id = r.id RETURNING 1
)
SELECT add_erased(:user_id::uuid, jsonb_build_object('authorshipOfFeedback', count(*))) AS counts FROM changed
