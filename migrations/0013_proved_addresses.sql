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
-- Mails to one address are counted over all trips.
CREATE INDEX trip_invitations_mailed ON trip_invitations (invitee_email, mailed_at);
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
