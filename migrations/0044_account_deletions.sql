-- Accounts that their users delete. A row outlives the profile until its receipt was mailed, so that an interrupted
-- erasure continues; nothing else holds the address meanwhile.
CREATE TABLE account_deletions (
    user_id      uuid PRIMARY KEY,
    email        text NOT NULL,
    requested_at timestamptz NOT NULL,
    due_at       timestamptz NOT NULL,
    -- From then on, a sign-in no longer cancels it.
    begun_at     timestamptz,
    -- The username, the `addresses` with their `keys` and counted `mailboxes`, and all names and addresses as `texts`.
    words        jsonb,
    -- The erased rows by kind.
    erased       jsonb NOT NULL DEFAULT '{}'
);
-- split
CREATE INDEX account_deletions_due ON account_deletions (due_at);
-- split

-- The trips of a user who is erased, and the profile without an account that replaces the user there: another one on each
-- trip, so that trips do not tell that it was the same user. `is_over` if the trip ends with its last member.
CREATE TABLE former_members (
    user_id      uuid NOT NULL REFERENCES account_deletions (user_id) ON DELETE CASCADE,
    trip_id      uuid NOT NULL,
    stand_in_id  uuid NOT NULL,
    is_over      boolean NOT NULL DEFAULT false,
    PRIMARY KEY (user_id, trip_id)
);
-- split

-- Adds numbers of erased rows by kind, a JSON object, to those before.
CREATE FUNCTION add_erased(person uuid, rows jsonb) RETURNS jsonb LANGUAGE sql VOLATILE AS $$
    UPDATE account_deletions d
    SET erased = d.erased || (
        SELECT coalesce(jsonb_object_agg(key, value::bigint + coalesce((d.erased ->> key)::bigint, 0)), '{}')
        FROM jsonb_each_text(coalesce(rows, '{}')) WHERE value::bigint > 0)
    WHERE d.user_id = person
    RETURNING d.erased
$$;
-- split

-- Ends a membership for good; true if it was active. The longest-standing admin, or else member, becomes the owner of a trip without one; a trip
-- without members is over. Sharing ends first, without events of its own: they would name the user.
CREATE FUNCTION leave_for_good(person uuid, trip uuid, event uuid, at timestamptz)
RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    heir trip_memberships;
    over boolean;
BEGIN
    PERFORM FROM trips t WHERE t.id = trip FOR NO KEY UPDATE;
    DELETE FROM location_sharing WHERE trip_id = trip AND user_id = person;
    DELETE FROM last_positions WHERE trip_id = trip AND user_id = person;
    DELETE FROM arrivals WHERE trip_id = trip AND user_id = person;
    SELECT t.deleted_at IS NOT NULL AND (t.created_by = person OR coalesce(m.role = 'OWNER', false))
        OR t.deleted_at IS NULL AND m.status = 'ACTIVE' AND NOT EXISTS (
            SELECT FROM trip_memberships o WHERE o.trip_id = trip AND o.user_id <> person AND o.status = 'ACTIVE')
    INTO over
    FROM trips t LEFT JOIN trip_memberships m ON m.trip_id = t.id AND m.user_id = person
    WHERE t.id = trip;
    UPDATE former_members f SET is_over = f.is_over OR coalesce(over, false) WHERE f.user_id = person AND f.trip_id = trip;
    UPDATE trip_memberships m SET status = 'INACTIVE', left_by_choice = true, updated_at = at
    WHERE m.trip_id = trip AND m.user_id = person AND m.status = 'ACTIVE';
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE trips t SET member_count = t.member_count - 1 WHERE t.id = trip;
    IF over THEN
        UPDATE trips t SET deleted_at = coalesce(t.deleted_at, at), updated_at = at WHERE t.id = trip;
    ELSIF owners_now(trip) = 0 THEN
        SELECT * INTO heir FROM trip_memberships m WHERE m.trip_id = trip AND m.status = 'ACTIVE'
        ORDER BY m.role = 'ADMIN' DESC, coalesce(m.joined_at, m.created_at), m.id LIMIT 1;
        UPDATE trip_memberships m SET role = 'OWNER', updated_at = at WHERE m.id = heir.id;
        UPDATE trips t SET created_by = heir.user_id WHERE t.id = trip;
        INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
        SELECT event, 'MEMBER_ROLE_UPDATED', 'member-service', trip, heir.user_id, 'trip', at,
               jsonb_build_object('userId', heir.user_id, 'role', role_word('OWNER'),
                                  'previousRole', role_word(heir.role), 'old_role', heir.role, 'new_role', 'OWNER',
                                  'changedBy', f.stand_in_id)
        FROM former_members f WHERE f.user_id = person AND f.trip_id = trip;
    END IF;
    RETURN true;
END
$$;
