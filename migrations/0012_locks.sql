-- A lock and the rows that decide behind it. A statement reads with the snapshot that it took before it waited for a
-- lock, so it would not see rows that were inserted meanwhile. Each statement of a volatile function takes a snapshot of
-- its own. What the calling statement writes, these functions only lock and read: it could not write a row again that
-- they wrote.

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
-- split

-- What decides on a user's new trip: the trips that the user is on, and whether the same request made one before.
CREATE FUNCTION locked_creation(person uuid, fingerprint bytea, at timestamptz)
RETURNS TABLE (trips bigint, is_repeat boolean) LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    trips := locked_trip_count(person);
    is_repeat := EXISTS (SELECT FROM replays r WHERE r.key = fingerprint AND r.expires_at > at);
    RETURN NEXT;
END
$$;
-- split

-- Two spellings of an emoji that differ in variation selectors, or in the form of their characters, are one emoji.
CREATE FUNCTION emoji_key(emoji text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT translate(normalize(emoji, NFC), U&'\FE0E\FE0F', '')
$$;
-- split

-- How often each emoji was given to a message, in its first spelling, the oldest first, and whether by the caller.
CREATE OR REPLACE FUNCTION chat_reaction_counts(message uuid, caller uuid) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_agg(jsonb_build_object('emoji', spellings[1], 'count', count, 'mine', mine)
                     ORDER BY first, spellings[1])
    FROM (
        SELECT array_agg(emoji ORDER BY created_at, emoji) AS spellings, count(*) AS count,
               bool_or(user_id = caller) AS mine, min(created_at) AS first
        FROM chat_reactions WHERE message_id = message GROUP BY emoji_key(emoji)
    ) AS counted
$$;
-- split

-- What decides on a user's reaction: the number of other ones, and the time of this one if it is there. No row if the
-- message does not exist, is deleted or is on another trip. The message is locked before the user.
CREATE FUNCTION locked_reactions(trip uuid, message uuid, person uuid, wanted text)
RETURNS TABLE (others bigint, reacted_at timestamptz) LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM FROM chat_messages m WHERE m.id = message FOR SHARE;
    PERFORM FROM user_profiles p WHERE p.id = person FOR NO KEY UPDATE;
    RETURN QUERY
    SELECT count(r.emoji) FILTER (WHERE emoji_key(r.emoji) <> emoji_key(wanted)),
           min(r.created_at) FILTER (WHERE emoji_key(r.emoji) = emoji_key(wanted))
    FROM chat_messages m LEFT JOIN chat_reactions r ON r.message_id = m.id AND r.user_id = person
    WHERE m.id = message AND m.trip_id = trip AND m.deleted_at IS NULL
    GROUP BY m.id;
END
$$;
-- split

-- The earlier texts of a message whose lock the caller has.
CREATE FUNCTION edits_now(message uuid) RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT count(*) FROM chat_edits e WHERE e.message_id = message
$$;
-- split

-- Erases what else is stored of a deleted message whose lock the caller has: reactions, earlier texts, its file, and
-- its text in events. Returns the number of earlier texts.
CREATE FUNCTION erase_message(message uuid, first_event uuid, tombstone text, at timestamptz)
RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    events uuid[];
BEGIN
    DELETE FROM chat_reactions r WHERE r.message_id = message;
    UPDATE attachments a SET deleted_at = at WHERE a.message_id = message AND a.deleted_at IS NULL;
    WITH edits AS (
        DELETE FROM chat_edits e WHERE e.message_id = message RETURNING e.event_id
    )
    SELECT coalesce(array_agg(event_id), '{}') INTO events FROM edits;
    UPDATE outbox o
    SET payload = jsonb_set(jsonb_set(o.payload, '{content}', to_jsonb(tombstone)), '{message,content}',
                            to_jsonb(tombstone)) #- '{attachment}' #- '{message,attachment}'
    WHERE o.id = ANY (first_event || events);
    RETURN cardinality(events);
END
$$;
-- split

-- Frees a device token for a user: other users of the phone, and the user's own tokens above the limit, lose theirs.
CREATE FUNCTION free_push_token(person uuid, wanted text, max_tokens integer, at timestamptz)
RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    freed bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(wanted, 7206034));
    PERFORM FROM user_profiles p WHERE p.id = person FOR NO KEY UPDATE;
    UPDATE user_push_tokens t SET is_active = false, updated_at = at
    WHERE t.is_active AND (t.token = wanted AND t.user_id <> person OR t.id IN (
        SELECT own.id FROM user_push_tokens own
        WHERE own.user_id = person AND own.is_active AND own.token <> wanted
        ORDER BY own.last_used_at DESC NULLS LAST, own.id DESC OFFSET max_tokens - 1));
    GET DIAGNOSTICS freed = ROW_COUNT;
    RETURN freed;
END
$$;
-- split

-- A user's sharing on a trip, with the profile's fields that decide on it.
CREATE FUNCTION locked_sharing(trip uuid, person uuid)
RETURNS TABLE (preference text, is_ghost boolean, sharing location_sharing) LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM FROM user_profiles p WHERE p.id = person FOR NO KEY UPDATE;
    RETURN QUERY
    SELECT p.location_privacy_preference, ghost_mode(p.preferences), s
    FROM user_profiles p LEFT JOIN location_sharing s ON s.trip_id = trip AND s.user_id = p.id
    WHERE p.id = person;
END
$$;
-- split

-- The active members of a trip; until the commit, no user joins or leaves it.
CREATE FUNCTION locked_member_count(trip uuid) RETURNS integer LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM FROM trips t WHERE t.id = trip FOR NO KEY UPDATE;
    RETURN (SELECT count(*) FROM trip_memberships m WHERE m.trip_id = trip AND m.status = 'ACTIVE');
END
$$;
-- split

-- A report beside a leave may be stored just after the leave deleted what the member shared: it is deleted when the
-- member returns, since sharing does not come back with a membership. Nothing shows it before.
CREATE FUNCTION forget_sharing() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM location_sharing s WHERE s.trip_id = NEW.trip_id AND s.user_id = NEW.user_id;
    DELETE FROM last_positions l WHERE l.trip_id = NEW.trip_id AND l.user_id = NEW.user_id;
    DELETE FROM arrivals a WHERE a.trip_id = NEW.trip_id AND a.user_id = NEW.user_id;
    RETURN NULL;
END
$$;
-- split
CREATE TRIGGER members_returned AFTER UPDATE OF status ON trip_memberships FOR EACH ROW
WHEN (OLD.status <> 'ACTIVE' AND NEW.status = 'ACTIVE') EXECUTE FUNCTION forget_sharing();
