-- name: page
SELECT n.id, n.type, n.metadata, n.is_read, n.created_at
FROM user_profiles caller
LEFT JOIN LATERAL (
    SELECT * FROM notifications
    WHERE user_id = caller.id AND (:is_read::boolean IS NULL OR is_read = :is_read::boolean)
        AND (:after_at::timestamptz IS NULL OR (created_at, id) < (:after_at::timestamptz, :after_id::uuid))
    ORDER BY created_at DESC, id DESC LIMIT :limit::int OFFSET :offset::int
) n ON true
WHERE caller.id = :caller::uuid
ORDER BY n.created_at DESC, n.id DESC

-- name: unread
SELECT (SELECT count(*) FROM notifications WHERE user_id = caller.id AND NOT is_read) AS unread
FROM user_profiles caller WHERE caller.id = :caller::uuid

-- name: mark_read
WITH updated AS (
    UPDATE notifications SET is_read = true, updated_at = :now::timestamptz
    WHERE id = :id::uuid AND user_id = :caller::uuid
    RETURNING id
)
SELECT EXISTS (SELECT FROM updated) AS found FROM user_profiles caller WHERE caller.id = :caller::uuid

-- name: mark_all_read
WITH updated AS (
    UPDATE notifications SET is_read = true, updated_at = :now::timestamptz
    WHERE user_id = :caller::uuid AND NOT is_read
    RETURNING id
)
SELECT (SELECT count(*) FROM updated) AS count FROM user_profiles caller WHERE caller.id = :caller::uuid

-- name: delete
WITH deleted AS (
    DELETE FROM notifications WHERE id = :id::uuid AND user_id = :caller::uuid RETURNING id
)
SELECT EXISTS (SELECT FROM deleted) AS found FROM user_profiles caller WHERE caller.id = :caller::uuid

-- name: delete_all
WITH deleted AS (
    DELETE FROM notifications WHERE user_id = :caller::uuid RETURNING id
)
SELECT (SELECT count(*) FROM deleted) AS count FROM user_profiles caller WHERE caller.id = :caller::uuid

-- name: trip_preferences
SELECT gate.verdict, own.muted_until, own.chat
FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int) gate
LEFT JOIN trip_memberships m
    ON gate.verdict = 'ok' AND m.trip_id = gate.trip_id AND m.user_id = :caller::uuid AND m.status = 'ACTIVE'
LEFT JOIN trip_notification_preferences own
    ON own.trip_id = m.trip_id AND own.user_id = m.user_id AND own.updated_at >= m.joined_at

-- name: prefer
WITH gate AS MATERIALIZED (
    SELECT * FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int)
), stored AS (
    INSERT INTO trip_notification_preferences AS p (trip_id, user_id, muted_until, chat, updated_at)
    SELECT gate.trip_id, :caller::uuid, :muted_until::timestamptz, :chat::text, :now::timestamptz
    FROM gate WHERE gate.verdict = 'ok'
    ON CONFLICT (trip_id, user_id) DO UPDATE
    SET muted_until = excluded.muted_until, chat = excluded.chat, updated_at = excluded.updated_at
)
SELECT verdict FROM gate

-- name: facts
-- For each question: a row per ACTIVE member, named user and invited user, at least one unless the trip is deleted.
-- Each row has the trip's name; a question without a trip is about its people. Preferences from before a member left and rejoined the trip are ignored.
WITH question AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(:questions::jsonb) AS q (n int, trip_id uuid, people jsonb, invitation_id uuid)
), invited AS MATERIALIZED (
    SELECT question.n, i.invitee_id AS user_id
    FROM question JOIN trip_invitations i
        ON i.id = question.invitation_id AND i.trip_id = question.trip_id AND i.status = 'PENDING'
), candidate AS MATERIALIZED (
    SELECT question.n, m.user_id
    FROM question JOIN trip_memberships m ON m.trip_id = question.trip_id AND m.status = 'ACTIVE'
    UNION SELECT n, user_id FROM invited
    UNION SELECT n, value::uuid FROM question CROSS JOIN LATERAL jsonb_array_elements_text(question.people)
)
SELECT question.n, t.name AS trip_name, p.id AS user_id, p.first_name, p.last_name, p.username,
       membership.user_id IS NOT NULL AS is_member,
       EXISTS (SELECT FROM invited WHERE invited.n = question.n AND invited.user_id = p.id) AS is_invited,
       EXISTS (SELECT FROM user_push_tokens phone WHERE phone.user_id = p.id AND phone.is_active) AS has_phone,
       CASE WHEN p.preferences ? 'notifications' OR p.preferences ? 'notificationDetails' THEN
           jsonb_build_object('notifications', p.preferences -> 'notifications',
                              'notificationDetails', p.preferences -> 'notificationDetails')::text
       END AS preferences,
       own.muted_until, own.chat
FROM question
LEFT JOIN trips t ON t.id = question.trip_id
LEFT JOIN (candidate JOIN user_profiles p ON p.id = candidate.user_id) ON candidate.n = question.n
LEFT JOIN trip_memberships membership ON membership.trip_id = t.id AND membership.user_id = p.id
    AND membership.status = 'ACTIVE'
LEFT JOIN trip_notification_preferences own
    ON own.trip_id = t.id AND own.user_id = membership.user_id AND own.updated_at >= membership.joined_at
WHERE t.id IS NOT NULL OR question.trip_id IS NULL

-- name: store
-- The notifications of several events at once, each once, with the number of stored ones for each event `n` that has any.
WITH drafts AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(:drafts::jsonb) AS d (
        n int, id uuid, event_id uuid, user_id uuid, trip_id uuid, type text, metadata jsonb, payload jsonb,
        caused_at timestamptz, now timestamptz)
), stored AS (
    INSERT INTO notifications AS n (id, user_id, type, metadata, created_at, updated_at, caused_at)
    SELECT drafts.id, p.id, type, metadata, now, now, caused_at
    FROM drafts JOIN user_profiles p ON p.id = drafts.user_id
    -- An invitation that was answered or has expired meanwhile has nothing to answer.
    WHERE NOT EXISTS (SELECT FROM trip_invitations i
                      WHERE drafts.type = 'TRIP_INVITATION_RECEIVED'
                          AND i.id = (drafts.metadata ->> 'invitationID')::uuid AND (i.status <> 'PENDING' OR i.expires_at <= drafts.now))
    ORDER BY drafts.id
    -- A later event about the same subject renews its notification; a repeat changes nothing.
    ON CONFLICT (id) DO UPDATE
    SET metadata = excluded.metadata, is_read = false, created_at = excluded.created_at,
        updated_at = excluded.updated_at, caused_at = excluded.caused_at
    WHERE n.caused_at < excluded.caused_at
    RETURNING id
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, recipient_id, audience, occurred_at, payload)
    SELECT drafts.event_id, 'notification.created', 'NotificationService', trip_id, user_id, user_id, 'user', now, payload
    FROM drafts JOIN stored USING (id)
    ORDER BY drafts.n
    ON CONFLICT (id) DO NOTHING
)
SELECT drafts.n, count(*) AS count FROM drafts JOIN stored USING (id) GROUP BY drafts.n

-- name: purge
DELETE FROM notifications WHERE id IN (
    SELECT id FROM notifications WHERE created_at < :before::timestamptz ORDER BY created_at LIMIT :limit::int)
RETURNING 1 AS deleted
