-- A contact address counts once its owner has followed the link mailed to it: until then it binds no invitation and
-- finds no user. `contact_email_code_id` is the id in that link; a new address gets a new one.
ALTER TABLE user_profiles
    ADD COLUMN contact_email_code_id uuid,
    ADD COLUMN contact_email_mailed_at timestamptz,
    ADD COLUMN contact_email_confirmed_at timestamptz;
-- split
CREATE UNIQUE INDEX user_profiles_contact_email_code ON user_profiles (contact_email_code_id);
-- split
-- A user who left a trip is added again only by an invitation that the user accepts. Earlier ends of memberships do
-- not say who caused them.
ALTER TABLE trip_memberships ADD COLUMN left_by_choice boolean NOT NULL DEFAULT false;
-- split
UPDATE trip_memberships SET left_by_choice = true WHERE status = 'INACTIVE';
-- split
-- The invitee declined; a revoked invitation has the same status.
ALTER TABLE trip_invitations ADD COLUMN is_refused boolean NOT NULL DEFAULT false;
-- split
-- Mails that other users cause are counted by recipient, over all trips and users.
CREATE TABLE mails_sent (
    event_id  uuid PRIMARY KEY,
    recipient text NOT NULL,
    sent_at   timestamptz NOT NULL
);
-- split
CREATE INDEX mails_sent_recipient ON mails_sent (recipient, sent_at);
-- split
CREATE INDEX mails_sent_age ON mails_sent (sent_at);
-- split
CREATE INDEX trip_invitations_invitee_pending ON trip_invitations (trip_id, invitee_id) WHERE status = 'PENDING';
-- split
-- An ended session is looked up by its end, so that every process refuses its access tokens.
CREATE INDEX sessions_revoked ON sessions (revoked_at) WHERE revoked_at IS NOT NULL;
-- split

-- True if both users are members of a trip that exists.
CREATE FUNCTION share_a_trip(one uuid, other uuid) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM trip_memberships a
        JOIN trip_memberships b ON b.trip_id = a.trip_id AND b.user_id = other AND b.status = 'ACTIVE'
        JOIN trips t ON t.id = a.trip_id AND t.deleted_at IS NULL
        WHERE a.user_id = one AND a.status = 'ACTIVE')
$$;
-- split
-- Invitations that an unconfirmed contact address had bound are for their address only.
UPDATE trip_invitations i SET invitee_id = NULL
FROM user_profiles u WHERE u.id = i.invitee_id AND i.status = 'PENDING' AND i.invitee_email <> lower(u.email);
-- split
-- True if both users were ever members of one trip.
CREATE FUNCTION shared_a_trip(one uuid, other uuid) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM trip_memberships a JOIN trip_memberships b ON b.trip_id = a.trip_id AND b.user_id = other
                   WHERE a.user_id = one)
$$;
-- split
-- A member's present rank behind the trip's lock; 0 for others.
CREATE FUNCTION rank_now(trip uuid, person uuid) RETURNS integer LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(max(role_rank(m.role)), 0) FROM trip_memberships m
    WHERE m.trip_id = trip AND m.user_id = person AND m.status = 'ACTIVE'
$$;
-- split
-- When the event happened that caused the notification: a later one about the same subject renews it.
ALTER TABLE notifications ADD COLUMN caused_at timestamptz;
-- split
-- An answered invitation has no notification any more.
CREATE FUNCTION forget_invitation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM notifications n
    WHERE n.user_id = NEW.invitee_id AND n.type = 'TRIP_INVITATION_RECEIVED'
        AND n.metadata ->> 'invitationID' = NEW.id::text;
    RETURN NULL;
END
$$;
-- split
CREATE TRIGGER invitations_answered AFTER UPDATE OF status ON trip_invitations FOR EACH ROW
WHEN (OLD.status = 'PENDING' AND NEW.status <> 'PENDING') EXECUTE FUNCTION forget_invitation();
-- split
-- True if a refresh token exists, behind the lock on the one that it replaces.
CREATE FUNCTION refresh_token_exists(wanted bytea) RETURNS boolean LANGUAGE sql VOLATILE AS $$
    SELECT EXISTS (SELECT FROM refresh_tokens WHERE hash = wanted)
$$;
