-- name: page
SELECT n.id, n.type, n.metadata, n.is_read, n.created_at
FROM user_profiles me
LEFT JOIN LATERAL (
    SELECT * FROM notifications
    WHERE user_id = me.id AND (:is_read::boolean IS NULL OR is_read = :is_read::boolean)
    ORDER BY created_at DESC, id DESC LIMIT :limit::int OFFSET :offset::int
) n ON true
WHERE me.id = :caller::uuid
ORDER BY n.created_at DESC, n.id DESC

-- name: unread
SELECT (SELECT count(*) FROM notifications WHERE user_id = me.id AND NOT is_read) AS unread
FROM user_profiles me WHERE me.id = :caller::uuid

-- name: mark_read
WITH read AS (
    UPDATE notifications SET is_read = true, updated_at = :now::timestamptz
    WHERE id = :id::uuid AND user_id = :caller::uuid
    RETURNING id
)
SELECT EXISTS (SELECT FROM read) AS found FROM user_profiles me WHERE me.id = :caller::uuid

-- name: mark_all_read
WITH read AS (
    UPDATE notifications SET is_read = true, updated_at = :now::timestamptz
    WHERE user_id = :caller::uuid AND NOT is_read
    RETURNING id
)
SELECT (SELECT count(*) FROM read) AS count FROM user_profiles me WHERE me.id = :caller::uuid

-- name: delete
WITH gone AS (
    DELETE FROM notifications WHERE id = :id::uuid AND user_id = :caller::uuid RETURNING id
)
SELECT EXISTS (SELECT FROM gone) AS found FROM user_profiles me WHERE me.id = :caller::uuid

-- name: delete_all
WITH gone AS (
    DELETE FROM notifications WHERE user_id = :caller::uuid RETURNING id
)
SELECT (SELECT count(*) FROM gone) AS count FROM user_profiles me WHERE me.id = :caller::uuid

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
), kept AS (
    INSERT INTO trip_notification_preferences AS p (trip_id, user_id, muted_until, chat, updated_at)
    SELECT gate.trip_id, :caller::uuid, :muted_until::timestamptz, :chat::text, :now::timestamptz
    FROM gate WHERE gate.verdict = 'ok'
    ON CONFLICT (trip_id, user_id) DO UPDATE
    SET muted_until = excluded.muted_until, chat = excluded.chat, updated_at = excluded.updated_at
)
SELECT verdict FROM gate

-- name: facts
-- For each question the trip's name on every row; a row per ACTIVE member, person named and person invited, and one at
-- least unless the trip is gone. What somebody wanted of the trip before they left it does not count when they are back.
WITH asked AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(:questions::jsonb) AS q (n int, trip_id uuid, people jsonb, invitation_id uuid)
), invited AS MATERIALIZED (
    SELECT asked.n, i.invitee_id AS user_id
    FROM asked JOIN trip_invitations i
        ON i.id = asked.invitation_id AND i.trip_id = asked.trip_id AND i.status = 'PENDING'
), concerned AS MATERIALIZED (
    SELECT asked.n, m.user_id
    FROM asked JOIN trip_memberships m ON m.trip_id = asked.trip_id AND m.status = 'ACTIVE'
    UNION SELECT n, user_id FROM invited
    UNION SELECT n, value::uuid FROM asked CROSS JOIN LATERAL jsonb_array_elements_text(asked.people)
)
SELECT asked.n, t.name AS trip_name, p.id AS user_id, p.first_name, p.last_name, p.username,
       crew.user_id IS NOT NULL AS is_member,
       EXISTS (SELECT FROM invited WHERE invited.n = asked.n AND invited.user_id = p.id) AS is_invited,
       EXISTS (SELECT FROM user_push_tokens phone WHERE phone.user_id = p.id AND phone.is_active) AS has_phone,
       CASE WHEN p.preferences ? 'notifications' OR p.preferences ? 'notificationDetails' THEN
           jsonb_build_object('notifications', p.preferences -> 'notifications',
                              'notificationDetails', p.preferences -> 'notificationDetails')::text
       END AS preferences,
       own.muted_until, own.chat
FROM asked
JOIN trips t ON t.id = asked.trip_id
LEFT JOIN (concerned JOIN user_profiles p ON p.id = concerned.user_id) ON concerned.n = asked.n
LEFT JOIN trip_memberships crew ON crew.trip_id = t.id AND crew.user_id = p.id AND crew.status = 'ACTIVE'
LEFT JOIN trip_notification_preferences own
    ON own.trip_id = t.id AND own.user_id = crew.user_id AND own.updated_at >= crew.joined_at

-- name: store
WITH drafts AS (
    SELECT * FROM jsonb_to_recordset(:drafts::jsonb)
        AS d (id uuid, event_id uuid, user_id uuid, type text, metadata jsonb, payload jsonb)
), stored AS (
    INSERT INTO notifications (id, user_id, type, metadata, created_at, updated_at)
    SELECT drafts.id, p.id, type, metadata, :now::timestamptz, :now::timestamptz
    FROM drafts JOIN user_profiles p ON p.id = drafts.user_id
    ON CONFLICT (id) DO NOTHING
    RETURNING id
), told AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, recipient_id, audience, occurred_at, payload)
    SELECT drafts.event_id, 'notification.created', 'NotificationService', :trip_id::uuid, user_id, user_id, 'user',
           :now::timestamptz, payload
    FROM drafts JOIN stored USING (id)
    ON CONFLICT (id) DO NOTHING
)
SELECT count(*) AS count FROM stored

-- name: purge
DELETE FROM notifications WHERE id IN (
    SELECT id FROM notifications WHERE created_at < :before::timestamptz ORDER BY created_at LIMIT :limit::int)
RETURNING 1 AS gone
