-- Polls of a trip, their options and votes.

CREATE TABLE polls (
    id                   uuid PRIMARY KEY,
    trip_id              uuid NOT NULL REFERENCES trips (id) ON DELETE CASCADE,
    question             text NOT NULL CHECK (length(question) BETWEEN 1 AND 500),
    kind                 text NOT NULL CHECK (kind IN ('choice', 'dates', 'ranked')),
    ballot               text NOT NULL CHECK (ballot IN ('open', 'blind')),
    allow_multiple_votes boolean NOT NULL,
    members_add_options  boolean NOT NULL,
    closes_automatically boolean NOT NULL,
    status               text NOT NULL CHECK (status IN ('ACTIVE', 'CLOSED')),
    created_by           uuid NOT NULL REFERENCES user_profiles (id) ON DELETE CASCADE,
    closed_by            uuid REFERENCES user_profiles (id) ON DELETE SET NULL,
    closed_at            timestamptz,
    expires_at           timestamptz NOT NULL,
    -- The time of the reminder that has not been sent yet.
    remind_at            timestamptz,
    created_at           timestamptz NOT NULL,
    updated_at           timestamptz NOT NULL,
    deleted_at           timestamptz,
    -- The outcome on the trip: the winner became its dates, its destination or a to-do.
    applied_as           text CHECK (applied_as IN ('dates', 'destination', 'todo')),
    applied_option_id    uuid,
    applied_todo_id      uuid,
    applied_at           timestamptz,
    -- A member has one vote.
    is_single            boolean NOT NULL GENERATED ALWAYS AS (kind = 'choice' AND NOT allow_multiple_votes) STORED,
    CHECK (expires_at > created_at),
    CHECK ((status = 'CLOSED') = (closed_at IS NOT NULL)),
    UNIQUE (id, is_single)
);
-- split
CREATE INDEX polls_trip ON polls (trip_id, created_at DESC, id DESC) WHERE deleted_at IS NULL;
-- split
CREATE INDEX polls_created_by ON polls (created_by);
-- split
CREATE INDEX polls_closed_by ON polls (closed_by);
-- split
CREATE INDEX polls_due ON polls (expires_at) WHERE closes_automatically AND status = 'ACTIVE' AND deleted_at IS NULL;
-- split
CREATE INDEX polls_reminders ON polls (remind_at) WHERE status = 'ACTIVE' AND deleted_at IS NULL;
-- split

CREATE TABLE poll_options (
    id         uuid PRIMARY KEY,
    poll_id    uuid NOT NULL REFERENCES polls (id) ON DELETE CASCADE,
    text       text NOT NULL CHECK (length(text) BETWEEN 1 AND 200),
    text_key   text NOT NULL,
    position   integer NOT NULL,
    -- The days of an option of the kind `dates`, the last one included.
    first_day  date,
    last_day   date,
    created_by uuid NOT NULL REFERENCES user_profiles (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    CHECK ((first_day IS NULL) = (last_day IS NULL)),
    CHECK (last_day >= first_day),
    UNIQUE (poll_id, text_key),
    UNIQUE (poll_id, id)
);
-- split
CREATE INDEX poll_options_created_by ON poll_options (created_by);
-- split

-- The key has one row for each option that a member votes for, or one row in all if the poll allows a single vote.
CREATE TABLE poll_votes (
    poll_id    uuid NOT NULL,
    user_id    uuid NOT NULL REFERENCES user_profiles (id) ON DELETE CASCADE,
    option_id  uuid NOT NULL,
    is_single  boolean NOT NULL,
    answer     text CHECK (answer IN ('yes', 'ifNeedBe', 'no')),
    rank       integer,
    created_at timestamptz NOT NULL,
    slot       uuid NOT NULL GENERATED ALWAYS AS (CASE WHEN is_single THEN poll_id ELSE option_id END) STORED,
    PRIMARY KEY (poll_id, user_id, slot),
    FOREIGN KEY (poll_id, is_single) REFERENCES polls (id, is_single) ON DELETE CASCADE,
    FOREIGN KEY (poll_id, option_id) REFERENCES poll_options (poll_id, id) ON DELETE CASCADE
);
-- split
CREATE INDEX poll_votes_option ON poll_votes (option_id, created_at, user_id);
-- split
CREATE INDEX poll_votes_user ON poll_votes (user_id);
-- split

-- The options of a poll; `votes` is a JSON array of user, time, answer and rank, the oldest first.
CREATE FUNCTION poll_options_of(poll uuid) RETURNS TABLE (
    option_id uuid, option_text text, "position" integer, first_day date, last_day date, option_created_by uuid,
    option_created_at timestamptz, votes text
) LANGUAGE sql STABLE AS $$
    SELECT o.id, o.text, o.position, o.first_day, o.last_day, o.created_by, o.created_at, cast_votes.list
    FROM poll_options o
    LEFT JOIN LATERAL (
        SELECT json_agg(json_build_array(v.user_id, utc_text(v.created_at), v.answer, v.rank)
                        ORDER BY v.created_at, v.user_id)::text AS list
        FROM poll_votes v WHERE v.option_id = o.id
    ) cast_votes ON true
    WHERE o.poll_id = poll
$$;
-- split

-- The same behind a lock that the caller has.
CREATE FUNCTION poll_options_now(poll uuid) RETURNS TABLE (
    option_id uuid, option_text text, "position" integer, first_day date, last_day date, option_created_by uuid,
    option_created_at timestamptz, votes text
) LANGUAGE sql VOLATILE AS $$
    SELECT * FROM poll_options_of(poll)
$$;
-- split

-- Whether a poll whose lock the caller has contains an option.
CREATE FUNCTION has_poll_option_now(poll uuid, wanted text) RETURNS boolean LANGUAGE sql VOLATILE AS $$
    SELECT EXISTS (SELECT FROM poll_options o WHERE o.poll_id = poll AND o.text_key = wanted)
$$;
-- split

-- What decides on a change of a poll. Until the commit, no other transaction votes in it or changes it. `voters` are
-- the present members who voted. No row if the poll does not exist, is deleted or is on another trip.
CREATE FUNCTION locked_poll(trip uuid, wanted uuid)
RETURNS TABLE (poll polls, votes bigint, voters bigint, members bigint, options bigint)
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM FROM polls p WHERE p.id = wanted AND p.trip_id = trip FOR NO KEY UPDATE;
    RETURN QUERY
    SELECT p,
           (SELECT count(*) FROM poll_votes v WHERE v.poll_id = p.id),
           (SELECT count(DISTINCT v.user_id)
            FROM poll_votes v JOIN trip_memberships m ON m.trip_id = p.trip_id AND m.user_id = v.user_id
                AND m.status = 'ACTIVE'
            WHERE v.poll_id = p.id),
           (SELECT count(*) FROM trip_memberships m WHERE m.trip_id = p.trip_id AND m.status = 'ACTIVE'),
           (SELECT count(*) FROM poll_options o WHERE o.poll_id = p.id)
    FROM polls p WHERE p.id = wanted AND p.trip_id = trip AND p.deleted_at IS NULL;
END
$$;
-- split

-- Replaces all that a user voted in a poll whose lock the caller has; true if it differs from before. `answers` is a
-- JSON array of `option`, `answer` and `rank`.
CREATE FUNCTION replace_ballot(poll uuid, person uuid, answers jsonb, at timestamptz)
RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    removed bigint;
    stored  bigint;
BEGIN
    DELETE FROM poll_votes v
    WHERE v.poll_id = poll AND v.user_id = person AND NOT EXISTS (
        SELECT FROM jsonb_to_recordset(answers) AS a (option uuid) WHERE a.option = v.option_id);
    GET DIAGNOSTICS removed = ROW_COUNT;
    INSERT INTO poll_votes AS v (poll_id, user_id, option_id, is_single, answer, rank, created_at)
    SELECT poll, person, a.option, false, a.answer, a.rank, at
    FROM jsonb_to_recordset(answers) AS a (option uuid, answer text, rank integer)
    ON CONFLICT (poll_id, user_id, slot) DO UPDATE
    SET answer = excluded.answer, rank = excluded.rank, created_at = excluded.created_at
    WHERE (v.answer, v.rank) IS DISTINCT FROM (excluded.answer, excluded.rank);
    GET DIAGNOSTICS stored = ROW_COUNT;
    RETURN removed + stored > 0;
END
$$;
-- split

-- A poll's vote as events report it: a blind ballot names neither the option nor the user.
CREATE FUNCTION poll_vote_json(poll uuid, trip uuid, ballot text, option uuid, person uuid)
RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_build_object('pollId', poll, 'tripId', trip)
        || CASE WHEN ballot = 'open' THEN
               jsonb_strip_nulls(jsonb_build_object('optionId', option, 'userId', person)) ELSE '{}' END
$$;
