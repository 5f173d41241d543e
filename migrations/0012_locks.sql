-- A lock and the rows that decide behind it. A statement reads with the snapshot that it took before it waited for a
-- lock, so it would not see rows that were inserted meanwhile. Each statement of a volatile function takes a snapshot of
-- its own. These functions only lock and read: a row that they wrote could not be written by the calling statement.

-- As `trip_gate`, once everything that was changing the trip, its members or their roles is done. Only callers whom the
-- gate admits wait and lock.
CREATE FUNCTION locked_trip_gate(trip uuid, caller uuid, min_rank integer)
RETURNS TABLE (verdict text, trip_id uuid, rank integer) LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF (SELECT gate.verdict FROM trip_gate(trip, caller, min_rank) gate) = 'ok' THEN
        PERFORM FROM trips t WHERE t.id = trip FOR NO KEY UPDATE;
    END IF;
    RETURN QUERY SELECT * FROM trip_gate(trip, caller, min_rank);
END
$$;
-- split

-- How many trips a user is on; until the commit, no other transaction that counts them gives the user another one.
CREATE FUNCTION locked_trip_count(person uuid) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM FROM user_profiles p WHERE p.id = person FOR NO KEY UPDATE;
    RETURN (SELECT count(*) FROM trip_memberships m WHERE m.user_id = person AND m.status = 'ACTIVE');
END
$$;
-- split

-- What decides whether a user may join a trip. The trip is locked before the user, as everywhere. No row if the trip
-- does not exist or is deleted.
CREATE FUNCTION locked_join(trip uuid, person uuid)
RETURNS TABLE (trip_id uuid, member_count integer, trips bigint, membership trip_memberships)
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM FROM trips t WHERE t.id = trip FOR NO KEY UPDATE;
    RETURN QUERY
    SELECT t.id, t.member_count, locked_trip_count(person), m
    FROM trips t LEFT JOIN trip_memberships m ON m.trip_id = t.id AND m.user_id = person
    WHERE t.id = trip AND t.deleted_at IS NULL;
END
$$;
-- split

-- The active owners of a trip whose lock the caller has.
CREATE FUNCTION owners_now(trip uuid) RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT count(*) FROM trip_memberships m WHERE m.trip_id = trip AND m.role = 'OWNER' AND m.status = 'ACTIVE'
$$;
