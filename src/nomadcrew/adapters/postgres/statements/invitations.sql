-- name: invite
WITH gate AS MATERIALIZED (
    SELECT * FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int)
), invitee AS MATERIALIZED (
    -- An account's address has priority over another user's contact address.
    SELECT id FROM (
        SELECT id, 0 AS priority, created_at FROM user_profiles
        WHERE id = :user_id::uuid AND imported_with IS NULL
        UNION ALL
        SELECT id, 1, created_at FROM user_profiles WHERE email_key = :email_key::text
        UNION ALL
        SELECT id, 2, contact_email_confirmed_at FROM user_profiles
        WHERE contact_email_key = :email_key::text AND contact_email_confirmed_at IS NOT NULL
    ) AS matches ORDER BY priority, created_at LIMIT 1
), checked AS (
    SELECT CASE WHEN gate.verdict <> 'ok' THEN gate.verdict
                WHEN :user_id::uuid IS NOT NULL AND NOT EXISTS (SELECT FROM invitee) THEN 'user_not_found'
                WHEN role_rank(:role::text) > gate.rank THEN 'insufficient_permissions'
                WHEN EXISTS (SELECT FROM trip_memberships m JOIN invitee ON m.user_id = invitee.id
                             WHERE m.trip_id = gate.trip_id AND m.status = 'ACTIVE') THEN 'already_member'
                ELSE 'ok' END AS verdict
    FROM gate
), quota AS MATERIALIZED (
    -- Mails to an address are counted over all trips and inviters.
    SELECT locked_mail_count(:recipient::text, :counted_since::timestamptz) < :max_mails::int AS is_free
    FROM checked WHERE verdict = 'ok'
), stored AS (
    INSERT INTO trip_invitations AS i (id, trip_id, inviter_id, invitee_id, invitee_email, email_key, role, status,
                                       expires_at, mailed_at, mail_event_id, created_at, updated_at)
    SELECT :id::uuid, :trip_id::uuid, :caller::uuid, (SELECT id FROM invitee), :email::text, :email_key::text, :role::text,
           'PENDING', :expires_at::timestamptz, :now::timestamptz, :event_id::uuid, :now::timestamptz, :now::timestamptz
    FROM quota
    ON CONFLICT (trip_id, email_key) WHERE status = 'PENDING' DO UPDATE
    SET role = excluded.role, expires_at = excluded.expires_at, inviter_id = excluded.inviter_id,
        invitee_id = excluded.invitee_id, updated_at = excluded.updated_at,
        mailed_at = CASE WHEN i.mailed_at <= :mailed_before::timestamptz THEN excluded.mailed_at
                         ELSE i.mailed_at END,
        mail_event_id = CASE WHEN i.mailed_at <= :mailed_before::timestamptz THEN excluded.mail_event_id
                             ELSE i.mail_event_id END,
        mail_sent_at = CASE WHEN i.mailed_at > :mailed_before::timestamptz THEN i.mail_sent_at END,
        reminded_at = NULL, expired_at = NULL
    RETURNING i.*
), mail AS (
    INSERT INTO mails_sent (event_id, recipient, sent_at)
    SELECT :event_id::uuid, :recipient::text, :now::timestamptz FROM stored CROSS JOIN quota
    WHERE stored.mail_event_id = :event_id::uuid AND quota.is_free
    RETURNING event_id
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
    SELECT :event_id::uuid,
           CASE WHEN id = :id::uuid THEN 'TRIP_INVITATION_CREATED' ELSE 'invitation.renewed' END,
           'invitation-service', trip_id, inviter_id,
           CASE WHEN id = :id::uuid THEN 'trip' ELSE 'internal' END, :now::timestamptz,
           jsonb_build_object('event_id', :event_id::uuid, 'invitation_id', id, 'role', role,
                              'is_mailed', EXISTS (SELECT FROM mail))
    FROM stored WHERE mail_event_id = :event_id::uuid
)
SELECT checked.verdict, i.id, i.trip_id, i.inviter_id, i.invitee_email, i.invitee_id, i.role, i.status,
       i.expires_at,
       i.created_at, i.updated_at
FROM checked LEFT JOIN stored i ON true

-- name: of
SELECT gate.verdict, i.id, i.trip_id, i.inviter_id, i.invitee_email, i.invitee_id, i.role, i.status, i.expires_at,
       i.created_at, i.updated_at
FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int) gate
LEFT JOIN LATERAL (
    SELECT * FROM trip_invitations WHERE trip_id = gate.trip_id ORDER BY created_at DESC, id DESC LIMIT :limit::int
) i ON gate.verdict = 'ok'
ORDER BY i.created_at DESC, i.id DESC

-- name: revoke
WITH gate AS MATERIALIZED (
    SELECT * FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int)
), old AS (
    SELECT i.* FROM gate JOIN trip_invitations i ON i.id = :id::uuid AND i.trip_id = gate.trip_id
    WHERE gate.verdict = 'ok' FOR UPDATE OF i
), declined AS (
    UPDATE trip_invitations i SET status = 'DECLINED', updated_at = :now::timestamptz
    FROM old WHERE i.id = old.id AND old.status = 'PENDING'
)
SELECT CASE WHEN gate.verdict <> 'ok' THEN gate.verdict
            WHEN old.id IS NULL THEN 'invitation_not_found'
            WHEN old.status <> 'PENDING' THEN 'invitation_not_pending'
            ELSE 'ok' END AS verdict
FROM gate LEFT JOIN old ON true

-- name: details
SELECT CASE WHEN NOT :anonymous::boolean AND caller.id IS NULL THEN 'user_not_onboarded'
            WHEN i.id IS NULL OR t.id IS NULL THEN 'invitation_not_found'
            WHEN NOT :anonymous::boolean AND NOT is_invitee(i, caller) THEN 'email_mismatch'
            ELSE 'ok' END AS verdict,
       i.id, i.trip_id, i.invitee_email, i.invitee_id, i.role, i.status, i.expires_at, i.created_at, i.updated_at,
       coalesce(caller.email, invitee.email) AS account_email, t.name AS trip_name,
       t.description AS trip_description, t.start_date AS trip_start_date,
       t.end_date AS trip_end_date, t.member_count, p.id AS inviter_id, p.username AS inviter_username,
       p.first_name AS inviter_first_name, p.last_name AS inviter_last_name, p.avatar_url AS inviter_avatar_url
FROM (SELECT 1) AS one_row
LEFT JOIN user_profiles caller ON caller.id = :caller::uuid
LEFT JOIN trip_invitations i ON i.id = :id::uuid
LEFT JOIN trips t ON t.id = i.trip_id AND t.deleted_at IS NULL
LEFT JOIN user_profiles p ON p.id = i.inviter_id
LEFT JOIN user_profiles invitee ON invitee.id = i.invitee_id

-- name: accept
WITH caller AS MATERIALIZED (
    SELECT u.*, u AS given FROM user_profiles u WHERE u.id = :caller::uuid
), invitation AS (
    SELECT i.*, i AS given FROM trip_invitations i WHERE i.id = :id::uuid FOR UPDATE
), trip AS MATERIALIZED (
    SELECT locked.* FROM invitation CROSS JOIN LATERAL locked_join(invitation.trip_id, :caller::uuid) locked
), current AS (
    SELECT (trip.membership).* FROM trip WHERE (trip.membership).id IS NOT NULL
), checked AS (
    SELECT CASE WHEN caller.id IS NULL THEN 'user_not_onboarded'
                WHEN invitation.id IS NULL OR trip.trip_id IS NULL THEN 'invitation_not_found'
                WHEN NOT is_invitee(invitation.given, caller.given) THEN 'email_mismatch'
                WHEN invitation.status = 'ACCEPTED' AND current.status = 'ACTIVE' THEN 'unchanged'
                WHEN invitation.status <> 'PENDING' THEN 'invitation_not_pending'
                WHEN invitation.expires_at <= :now::timestamptz THEN 'invitation_expired'
                -- Added meanwhile: the invitation is accepted, the membership stays as it is.
                WHEN current.status = 'ACTIVE' THEN 'joined'
                -- The sender may have left the trip or lost the role since.
                WHEN rank_now(trip.trip_id, invitation.inviter_id)
                     < greatest(:inviter_rank::int, role_rank(invitation.role)) THEN 'inviter_not_allowed'
                WHEN trip.member_count >= :max_members::int THEN 'trip_full'
                WHEN trip.trips >= :max_trips::int THEN 'too_many_trips'
                ELSE 'ok' END AS verdict
    FROM (SELECT 1) AS one_row LEFT JOIN caller ON true LEFT JOIN invitation ON true LEFT JOIN trip ON true
    LEFT JOIN current ON true
), membership AS (
    INSERT INTO trip_memberships (id, trip_id, user_id, role, status, created_at, updated_at, joined_at)
    SELECT :membership_id::uuid, invitation.trip_id, :caller::uuid, invitation.role, 'ACTIVE', :now::timestamptz,
           :now::timestamptz, :now::timestamptz
    FROM checked, invitation WHERE checked.verdict = 'ok'
    ON CONFLICT (trip_id, user_id) DO UPDATE
    SET role = excluded.role, status = 'ACTIVE', left_by_choice = false, updated_at = excluded.updated_at,
        joined_at = excluded.joined_at
    RETURNING *
), accepted AS (
    UPDATE trip_invitations i SET status = 'ACCEPTED', invitee_id = :caller::uuid, updated_at = :now::timestamptz
    FROM checked WHERE checked.verdict IN ('ok', 'joined') AND i.id = :id::uuid
), updated_trip AS (
    UPDATE trips t SET member_count = t.member_count + 1 FROM membership WHERE t.id = membership.trip_id
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
    SELECT :event_id::uuid, 'MEMBER_ADDED', 'member-service', membership.trip_id, membership.user_id, 'trip',
           :now::timestamptz,
           jsonb_strip_nulls(jsonb_build_object(
               'userId', membership.user_id, 'role', role_word(membership.role), 'addedBy', invitation.inviter_id,
               'invitationId', invitation.id))
    FROM membership, invitation
), latest AS (
    SELECT * FROM membership UNION ALL SELECT * FROM current WHERE NOT EXISTS (SELECT FROM membership)
)
SELECT checked.verdict, m.id, m.trip_id, m.user_id, m.role, m.status, m.created_at, m.updated_at
FROM checked LEFT JOIN latest m ON true

-- name: decline
WITH caller AS MATERIALIZED (
    SELECT u.*, u AS given FROM user_profiles u WHERE u.id = :caller::uuid
), invitation AS (
    SELECT i.*, i AS given FROM trip_invitations i JOIN trips t ON t.id = i.trip_id AND t.deleted_at IS NULL
    WHERE i.id = :id::uuid FOR UPDATE OF i
), checked AS (
    SELECT CASE WHEN caller.id IS NULL THEN 'user_not_onboarded'
                WHEN invitation.id IS NULL THEN 'invitation_not_found'
                WHEN NOT is_invitee(invitation.given, caller.given) THEN 'email_mismatch'
                WHEN invitation.status = 'DECLINED' AND coalesce(invitation.invitee_id = caller.id, false)
                    THEN 'unchanged'
                WHEN invitation.status <> 'PENDING' THEN 'invitation_not_pending'
                WHEN invitation.expires_at <= :now::timestamptz THEN 'invitation_expired'
                ELSE 'ok' END AS verdict
    FROM (SELECT 1) AS one_row LEFT JOIN caller ON true LEFT JOIN invitation ON true
), declined AS (
    UPDATE trip_invitations i
    SET status = 'DECLINED', is_refused = true, invitee_id = :caller::uuid, updated_at = :now::timestamptz
    FROM checked WHERE checked.verdict = 'ok' AND i.id = :id::uuid
    RETURNING i.*
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
    SELECT :event_id::uuid, 'invitation.declined', 'invitation-service', trip_id, :caller::uuid, 'internal',
           :now::timestamptz, jsonb_build_object('invitationId', id, 'inviterId', inviter_id)
    FROM declined
)
SELECT verdict FROM checked

-- name: mail_sent
UPDATE trip_invitations SET mail_sent_at = :now::timestamptz
WHERE id = :id::uuid AND mail_event_id = :event_id::uuid AND mail_sent_at IS NULL
RETURNING 1 AS changed

-- name: to_remind
-- Without invitations that could not be accepted: their inviter may not give the role any more.
SELECT i.id, i.invitee_email
FROM trip_invitations i
JOIN trips t ON t.id = i.trip_id AND t.deleted_at IS NULL
JOIN trip_memberships inviter ON inviter.trip_id = i.trip_id AND inviter.user_id = i.inviter_id
    AND inviter.status = 'ACTIVE' AND role_rank(inviter.role) >= greatest(:inviter_rank::int, role_rank(i.role))
WHERE i.status = 'PENDING' AND i.expired_at IS NULL AND i.mail_sent_at IS NOT NULL AND i.reminded_at IS NULL
    AND i.expires_at > :now::timestamptz AND i.expires_at <= :expires_until::timestamptz
    AND NOT EXISTS (SELECT FROM trip_memberships m
                    WHERE m.trip_id = i.trip_id AND m.user_id = i.invitee_id AND m.status = 'ACTIVE')
ORDER BY i.expires_at, i.id LIMIT :limit::int

-- name: remind
-- The lock on the address comes before that on the row.
WITH candidate AS MATERIALIZED (
    SELECT id FROM trip_invitations
    WHERE id = :id::uuid AND status = 'PENDING' AND reminded_at IS NULL AND expires_at > :now::timestamptz
), quota AS MATERIALIZED (
    SELECT locked_mail_count(:recipient::text, :counted_since::timestamptz) < :max_mails::int AS is_free
    FROM candidate
), reminded AS (
    UPDATE trip_invitations i SET reminded_at = :now::timestamptz
    FROM quota
    WHERE i.id = :id::uuid AND i.status = 'PENDING' AND i.reminded_at IS NULL AND i.expires_at > :now::timestamptz
    RETURNING i.id, i.trip_id, i.inviter_id, i.role, i.expires_at, quota.is_free,
              caused_id(concat_ws('|', 'invitation reminder', i.id, i.expires_at)) AS event_id
), mail AS (
    INSERT INTO mails_sent (event_id, recipient, sent_at)
    SELECT event_id, :recipient::text, :now::timestamptz FROM reminded WHERE is_free
)
INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
SELECT event_id, 'invitation.reminder', 'invitation-service', trip_id, inviter_id, 'internal', :now::timestamptz,
       jsonb_build_object('invitation_id', id, 'role', role, 'is_mailed', is_free, 'expires_at', utc_text(expires_at))
FROM reminded
RETURNING 1 AS reminded

-- name: expire
-- An expired invitation has no notification any more: its user could only fail to accept it.
WITH due AS MATERIALIZED (
    SELECT id FROM trip_invitations
    WHERE status = 'PENDING' AND expired_at IS NULL AND expires_at <= :now::timestamptz
    ORDER BY expires_at LIMIT :limit::int
    FOR UPDATE SKIP LOCKED
), expired AS (
    UPDATE trip_invitations i SET expired_at = :now::timestamptz FROM due WHERE i.id = due.id
    RETURNING i.id, i.invitee_id
), forgotten AS (
    DELETE FROM notifications n USING expired
    WHERE n.user_id = expired.invitee_id AND n.type = 'TRIP_INVITATION_RECEIVED'
        AND n.metadata ->> 'invitationID' = expired.id::text
)
SELECT 1 AS expired FROM expired

-- name: purge_mails_sent
DELETE FROM mails_sent WHERE event_id IN (
    SELECT event_id FROM mails_sent WHERE sent_at < :before::timestamptz ORDER BY sent_at LIMIT :limit::int)
RETURNING 1 AS deleted
