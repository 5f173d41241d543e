-- name: add
WITH gate AS MATERIALIZED (
    SELECT * FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int)
), idempotency_key AS (
    INSERT INTO replays AS r (key, result_id, expires_at)
    SELECT :fingerprint::bytea, :id::uuid, :kept_until::timestamptz FROM gate WHERE gate.verdict = 'ok'
    ON CONFLICT (key) DO UPDATE SET result_id = excluded.result_id, expires_at = excluded.expires_at
    WHERE r.expires_at <= :now::timestamptz
    RETURNING result_id
), poll AS (
    INSERT INTO polls (id, trip_id, question, question_search, kind, ballot, allow_multiple_votes, members_add_options,
                       closes_automatically, status, created_by, expires_at, remind_at, created_at, updated_at)
    SELECT result_id, gate.trip_id, :question::text, :question_search::text, :kind::text, :ballot::text, :allow_multiple_votes::boolean,
           :members_add_options::boolean, :closes_automatically::boolean, 'ACTIVE', :caller::uuid,
           :expires_at::timestamptz, :remind_at::timestamptz, :now::timestamptz, :now::timestamptz
    FROM idempotency_key, gate
    RETURNING *
), options AS (
    INSERT INTO poll_options (id, poll_id, text, text_key, text_search, position, first_day, last_day, created_by,
                              created_at)
    SELECT o.id, poll.id, o.text, o.text_key, o.text_search, o.position, o.first_day, o.last_day, poll.created_by,
           poll.created_at
    FROM poll CROSS JOIN jsonb_to_recordset(:options::jsonb) AS o (
        id uuid, text text, text_key text, text_search text, position int, first_day date, last_day date)
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
    SELECT :event_id::uuid, 'POLL_CREATED', 'poll_model', trip_id, created_by, 'trip', created_at,
           jsonb_build_object('pollId', id, 'tripId', trip_id, 'question', question)
    FROM poll
)
SELECT CASE WHEN gate.verdict = 'ok' AND NOT EXISTS (SELECT FROM idempotency_key) THEN 'replayed'
            ELSE gate.verdict END AS verdict
FROM gate

-- name: replayed
SELECT p.*, o.*
FROM replays r JOIN polls p ON p.id = r.result_id AND p.deleted_at IS NULL
LEFT JOIN LATERAL poll_options_of(p.id) o ON true
WHERE r.key = :fingerprint::bytea
ORDER BY o.position

-- name: page
-- The page ends early, before a poll with which its polls would have more than `max_votes` votes.
SELECT gate.verdict, counted.total, p.*, o.*
FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int) gate
LEFT JOIN LATERAL (
    SELECT count(*) AS total FROM polls WHERE trip_id = gate.trip_id AND deleted_at IS NULL
) counted ON gate.verdict = 'ok'
LEFT JOIN LATERAL (
    SELECT * FROM (
        SELECT listed.*, count(*) OVER () AS found,
               sum(listed.cast_votes) OVER (ORDER BY listed.created_at DESC, listed.id DESC) AS votes_so_far
        FROM (
            SELECT polls.*, (SELECT count(*) FROM poll_votes v WHERE v.poll_id = polls.id) AS cast_votes
            FROM polls WHERE trip_id = gate.trip_id AND deleted_at IS NULL
                AND (:after_at::timestamptz IS NULL OR (created_at, id) < (:after_at::timestamptz, :after_id::uuid))
            ORDER BY created_at DESC, id DESC LIMIT :limit::int OFFSET :offset::int
        ) AS listed
    ) AS summed
    WHERE votes_so_far <= :max_votes::int OR votes_so_far = cast_votes
) p ON gate.verdict = 'ok'
LEFT JOIN LATERAL poll_options_of(p.id) o ON true
ORDER BY p.created_at DESC, p.id DESC, o.position

-- name: one
SELECT CASE WHEN gate.verdict = 'ok' AND p.id IS NULL THEN 'poll_not_found' ELSE gate.verdict END AS verdict,
       p.*, o.*
FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int) gate
LEFT JOIN polls p
    ON gate.verdict = 'ok' AND p.id = :id::uuid AND p.trip_id = gate.trip_id AND p.deleted_at IS NULL
LEFT JOIN LATERAL poll_options_of(p.id) o ON true
ORDER BY o.position

-- name: vote
-- Any number of votes at once, one of a user in a poll, one verdict each. Polls are locked in the order of their ids.
WITH input AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(:votes::jsonb) AS v (
        n int, trip_id uuid, poll_id uuid, option_id uuid, caller uuid, min_rank int, event_id uuid, now timestamptz)
), gated AS MATERIALIZED (
    SELECT input.*, gate.verdict
    FROM input CROSS JOIN LATERAL trip_gate(input.trip_id, input.caller, input.min_rank) gate
), poll AS MATERIALIZED (
    SELECT p.* FROM (SELECT DISTINCT poll_id FROM gated WHERE verdict = 'ok') AS wanted
    JOIN polls p ON p.id = wanted.poll_id AND p.deleted_at IS NULL
    ORDER BY p.id
    FOR SHARE OF p
), checked AS MATERIALIZED (
    SELECT gated.n, gated.trip_id, gated.poll_id, gated.option_id, gated.caller, gated.event_id, gated.now,
           p.kind, p.ballot, p.is_single,
           CASE WHEN gated.verdict <> 'ok' THEN gated.verdict
                WHEN p.id IS NULL THEN 'poll_not_found'
                WHEN p.status <> 'ACTIVE' THEN 'poll_closed'
                WHEN p.expires_at <= gated.now THEN 'poll_expired'
                WHEN o.id IS NULL THEN 'poll_option_not_found'
                ELSE 'ok' END AS verdict
    FROM gated
    LEFT JOIN poll p ON p.id = gated.poll_id AND p.trip_id = gated.trip_id
    LEFT JOIN LATERAL (
        SELECT id FROM poll_options WHERE id = gated.option_id AND poll_id = p.id LIMIT 1
    ) o ON true
), stored AS (
    INSERT INTO poll_votes AS v (poll_id, user_id, option_id, is_single, answer, rank, created_at)
    SELECT poll_id, caller, option_id, is_single, CASE WHEN kind = 'dates' THEN 'yes' END,
           CASE WHEN kind = 'ranked' THEN (
               SELECT coalesce(max(r.rank), 0) + 1 FROM poll_votes r
               WHERE r.poll_id = checked.poll_id AND r.user_id = checked.caller) END,
           now
    FROM checked WHERE verdict = 'ok'
    ORDER BY poll_id, caller
    -- The same vote again changes nothing.
    ON CONFLICT (poll_id, user_id, slot) DO UPDATE
    SET option_id = excluded.option_id, answer = excluded.answer, created_at = excluded.created_at
    WHERE v.option_id <> excluded.option_id OR v.answer IS DISTINCT FROM excluded.answer
    RETURNING poll_id, user_id
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
    SELECT c.event_id, 'POLL_VOTE_CAST', 'poll_model', c.trip_id, CASE WHEN c.ballot = 'open' THEN c.caller END,
           'trip', c.now, poll_vote_json(c.poll_id, c.trip_id, c.ballot, c.option_id, c.caller)
    FROM checked c JOIN stored ON stored.poll_id = c.poll_id AND stored.user_id = c.caller
    WHERE c.verdict = 'ok'
    ORDER BY c.n
)
SELECT verdict FROM checked ORDER BY n

-- name: unvote
-- Any number of votes at once, one of a user in a poll, one verdict each. Polls are locked in the order of their ids.
WITH input AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(:votes::jsonb) AS v (
        n int, trip_id uuid, poll_id uuid, option_id uuid, caller uuid, min_rank int, event_id uuid, now timestamptz)
), gated AS MATERIALIZED (
    SELECT input.*, gate.verdict
    FROM input CROSS JOIN LATERAL trip_gate(input.trip_id, input.caller, input.min_rank) gate
), poll AS MATERIALIZED (
    SELECT p.* FROM (SELECT DISTINCT poll_id FROM gated WHERE verdict = 'ok') AS wanted
    JOIN polls p ON p.id = wanted.poll_id AND p.deleted_at IS NULL
    ORDER BY p.id
    FOR SHARE OF p
), checked AS MATERIALIZED (
    SELECT gated.n, gated.trip_id, gated.poll_id, gated.option_id, gated.caller, gated.event_id, gated.now, p.ballot,
           CASE WHEN gated.verdict <> 'ok' THEN gated.verdict
                WHEN p.id IS NULL THEN 'poll_not_found'
                WHEN p.status <> 'ACTIVE' THEN 'poll_closed'
                WHEN p.expires_at <= gated.now THEN 'poll_expired'
                ELSE 'ok' END AS verdict
    FROM gated LEFT JOIN poll p ON p.id = gated.poll_id AND p.trip_id = gated.trip_id
), own AS MATERIALIZED (
    SELECT v.poll_id, v.user_id, v.slot, c.n
    FROM checked c JOIN poll_votes v
        ON v.poll_id = c.poll_id AND v.user_id = c.caller AND v.option_id = c.option_id
    WHERE c.verdict = 'ok'
    ORDER BY v.poll_id, v.user_id
    FOR UPDATE OF v
), deleted AS (
    DELETE FROM poll_votes v USING own
    WHERE v.poll_id = own.poll_id AND v.user_id = own.user_id AND v.slot = own.slot
    RETURNING own.n
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
    SELECT c.event_id, 'POLL_VOTE_REMOVED', 'poll_model', c.trip_id, CASE WHEN c.ballot = 'open' THEN c.caller END,
           'trip', c.now, poll_vote_json(c.poll_id, c.trip_id, c.ballot, c.option_id, c.caller)
    FROM checked c JOIN deleted ON deleted.n = c.n
    ORDER BY c.n
)
SELECT CASE WHEN c.verdict = 'ok' AND deleted.n IS NULL THEN 'poll_vote_not_found' ELSE c.verdict END AS verdict
FROM checked c LEFT JOIN deleted ON deleted.n = c.n
ORDER BY c.n

-- name: change
WITH gate AS MATERIALIZED (
    SELECT * FROM trip_gate(:trip_id::uuid, :caller::uuid, 1)
), locked AS MATERIALIZED (
    SELECT l.* FROM gate CROSS JOIN LATERAL locked_poll(gate.trip_id, :id::uuid) l WHERE gate.verdict = 'ok'
), checked AS MATERIALIZED (
    SELECT CASE WHEN gate.verdict <> 'ok' THEN gate.verdict
                WHEN locked.members IS NULL THEN 'poll_not_found'
                WHEN NOT may_change(gate.rank, (locked.poll).created_by, :caller::uuid, :min_rank::int, :own::boolean)
                    THEN 'insufficient_permissions'
                WHEN (locked.poll).question <> :question::text AND locked.votes > 0 THEN 'poll_has_votes'
                ELSE 'ok' END AS verdict,
           (locked.poll).id
    FROM gate LEFT JOIN locked ON true
), updated AS (
    UPDATE polls p
    SET question = :question::text, question_search = :question_search::text, updated_at = :now::timestamptz
    FROM checked WHERE checked.verdict = 'ok' AND p.id = checked.id AND p.question <> :question::text
    RETURNING p.*
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
    SELECT :event_id::uuid, 'POLL_UPDATED', 'poll_model', trip_id, :caller::uuid, 'trip', updated_at,
           jsonb_build_object('pollId', id, 'tripId', trip_id, 'question', question)
    FROM updated
), latest AS (
    SELECT * FROM updated
    UNION ALL SELECT (locked.poll).* FROM locked WHERE NOT EXISTS (SELECT FROM updated)
)
SELECT checked.verdict, latest.*, o.*
FROM checked
LEFT JOIN latest ON checked.verdict = 'ok'
LEFT JOIN LATERAL poll_options_now(latest.id) o ON true
ORDER BY o.position

-- name: close
-- The lock of the trip keeps its members, which the quorum counts.
WITH gate AS MATERIALIZED (
    SELECT * FROM locked_trip_gate(:trip_id::uuid, :caller::uuid, 1)
), locked AS MATERIALIZED (
    SELECT l.* FROM gate CROSS JOIN LATERAL locked_poll(gate.trip_id, :id::uuid) l WHERE gate.verdict = 'ok'
), checked AS MATERIALIZED (
    SELECT CASE WHEN gate.verdict <> 'ok' THEN gate.verdict
                WHEN locked.members IS NULL THEN 'poll_not_found'
                WHEN NOT may_change(gate.rank, (locked.poll).created_by, :caller::uuid, :min_rank::int, :own::boolean)
                    THEN 'insufficient_permissions'
                -- A repeat of the request that closed it.
                WHEN (locked.poll).status = 'CLOSED' AND (locked.poll).closed_by = :caller::uuid THEN 'ok'
                WHEN (locked.poll).status = 'CLOSED' THEN 'poll_closed'
                WHEN (locked.poll).expires_at > :now::timestamptz AND locked.voters < locked.members
                    THEN 'poll_close_restricted'
                ELSE 'ok' END AS verdict,
           (locked.poll).id
    FROM gate LEFT JOIN locked ON true
), closed AS (
    UPDATE polls p
    SET status = 'CLOSED', closed_by = :caller::uuid, closed_at = :now::timestamptz, updated_at = :now::timestamptz
    FROM checked WHERE checked.verdict = 'ok' AND p.id = checked.id AND p.status = 'ACTIVE'
    RETURNING p.*
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
    SELECT :event_id::uuid, 'POLL_CLOSED', 'poll_model', trip_id, :caller::uuid, 'trip', updated_at,
           jsonb_build_object('pollId', id, 'tripId', trip_id, 'closedBy', closed_by, 'question', question)
    FROM closed
), latest AS (
    SELECT * FROM closed
    UNION ALL SELECT (locked.poll).* FROM locked WHERE NOT EXISTS (SELECT FROM closed)
)
SELECT checked.verdict, latest.*, o.*
FROM checked
LEFT JOIN latest ON checked.verdict = 'ok'
LEFT JOIN LATERAL poll_options_now(latest.id) o ON true
ORDER BY o.position

-- name: delete
WITH gate AS MATERIALIZED (
    SELECT * FROM trip_gate(:trip_id::uuid, :caller::uuid, 1)
), locked AS MATERIALIZED (
    SELECT p.id, p.created_by FROM gate JOIN polls p
        ON p.id = :id::uuid AND p.trip_id = gate.trip_id AND p.deleted_at IS NULL
    WHERE gate.verdict = 'ok'
    FOR UPDATE OF p
), checked AS MATERIALIZED (
    SELECT gate.trip_id, locked.id,
           CASE WHEN gate.verdict <> 'ok' THEN gate.verdict
                WHEN locked.id IS NULL THEN 'poll_not_found'
                WHEN may_change(gate.rank, locked.created_by, :caller::uuid, :min_rank::int, :own::boolean) THEN 'ok'
                ELSE 'insufficient_permissions' END AS verdict
    FROM gate LEFT JOIN locked ON true
), deleted AS (
    UPDATE polls p SET deleted_at = :now::timestamptz, updated_at = :now::timestamptz
    FROM checked WHERE checked.verdict = 'ok' AND p.id = checked.id
    RETURNING p.id, p.trip_id
), deleted_key AS (
    -- The same poll may be created again at once.
    DELETE FROM replays r USING deleted WHERE r.result_id = deleted.id
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
    SELECT :event_id::uuid, 'POLL_DELETED', 'poll_model', trip_id, :caller::uuid, 'trip', :now::timestamptz,
           jsonb_build_object('pollId', id, 'tripId', trip_id)
    FROM deleted
)
SELECT verdict FROM checked

-- name: cast_ballot
WITH gate AS MATERIALIZED (
    SELECT * FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int)
), locked AS MATERIALIZED (
    SELECT l.* FROM gate CROSS JOIN LATERAL locked_poll(gate.trip_id, :id::uuid) l WHERE gate.verdict = 'ok'
), checked AS MATERIALIZED (
    SELECT (locked.poll).id, (locked.poll).trip_id, (locked.poll).ballot,
           CASE WHEN gate.verdict <> 'ok' THEN gate.verdict
                WHEN locked.members IS NULL THEN 'poll_not_found'
                WHEN (locked.poll).status <> 'ACTIVE' THEN 'poll_closed'
                WHEN (locked.poll).expires_at <= :now::timestamptz THEN 'poll_expired'
                WHEN (locked.poll).kind <> :kind::text THEN 'invalid_ballot'
                WHEN EXISTS (
                    SELECT FROM jsonb_to_recordset(:marks::jsonb) AS a (option uuid)
                    LEFT JOIN poll_options o ON o.id = a.option AND o.poll_id = (locked.poll).id
                    WHERE o.id IS NULL) THEN 'poll_option_not_found'
                ELSE 'ok' END AS verdict
    FROM gate LEFT JOIN locked ON true
), changed AS MATERIALIZED (
    SELECT checked.*, replace_ballot(id, :caller::uuid, :marks::jsonb, :now::timestamptz) AS differs
    FROM checked WHERE verdict = 'ok'
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
    SELECT :event_id::uuid, CASE WHEN :marks::jsonb = '[]' THEN 'POLL_VOTE_REMOVED' ELSE 'POLL_VOTE_CAST' END,
           'poll_model', trip_id, CASE WHEN ballot = 'open' THEN :caller::uuid END, 'trip', :now::timestamptz,
           poll_vote_json(id, trip_id, ballot, NULL, :caller::uuid)
    FROM changed WHERE differs
)
SELECT verdict FROM checked

-- name: add_option
-- An option that is there already changes nothing.
WITH gate AS MATERIALIZED (
    SELECT * FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int)
), locked AS MATERIALIZED (
    SELECT l.* FROM gate CROSS JOIN LATERAL locked_poll(gate.trip_id, :id::uuid) l WHERE gate.verdict = 'ok'
), checked AS MATERIALIZED (
    SELECT (locked.poll).id, locked.options,
           CASE WHEN gate.verdict <> 'ok' THEN gate.verdict
                WHEN locked.members IS NULL THEN 'poll_not_found'
                WHEN (locked.poll).status <> 'ACTIVE' THEN 'poll_closed'
                WHEN (locked.poll).expires_at <= :now::timestamptz THEN 'poll_expired'
                WHEN NOT (locked.poll).members_add_options THEN 'poll_options_fixed'
                WHEN ((locked.poll).kind = 'dates') <> (:first_day::date IS NOT NULL) THEN 'invalid_option'
                WHEN has_poll_option_now((locked.poll).id, :text_key::text) THEN 'ok'
                WHEN locked.options >= :max_options::int THEN 'too_many_options'
                ELSE 'ok' END AS verdict
    FROM gate LEFT JOIN locked ON true
), added AS (
    INSERT INTO poll_options (id, poll_id, text, text_key, text_search, position, first_day, last_day, created_by,
                              created_at)
    SELECT :option_id::uuid, id, :text::text, :text_key::text, :text_search::text, options, :first_day::date,
           :last_day::date, :caller::uuid, :now::timestamptz
    FROM checked WHERE verdict = 'ok'
    ON CONFLICT (poll_id, text_key) DO NOTHING
    RETURNING poll_id
), updated AS (
    UPDATE polls p SET updated_at = :now::timestamptz FROM added WHERE p.id = added.poll_id
    RETURNING p.*
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
    SELECT :event_id::uuid, 'POLL_UPDATED', 'poll_model', trip_id, :caller::uuid, 'trip', updated_at,
           jsonb_build_object('pollId', id, 'tripId', trip_id, 'question', question, 'optionId', :option_id::uuid)
    FROM updated
)
SELECT verdict, EXISTS (SELECT FROM updated) AS added FROM checked

-- name: apply
WITH gate AS MATERIALIZED (
    SELECT * FROM trip_gate(:trip_id::uuid, :caller::uuid, 1)
), locked AS MATERIALIZED (
    SELECT p.* FROM gate JOIN polls p
        ON p.id = :id::uuid AND p.trip_id = gate.trip_id AND p.deleted_at IS NULL
    WHERE gate.verdict = 'ok'
    FOR UPDATE OF p
), checked AS MATERIALIZED (
    SELECT locked.id,
           CASE WHEN gate.verdict <> 'ok' THEN gate.verdict
                WHEN locked.id IS NULL THEN 'poll_not_found'
                WHEN NOT may_change(gate.rank, locked.created_by, :caller::uuid, :min_rank::int, :own::boolean)
                    THEN 'insufficient_permissions'
                WHEN locked.status = 'ACTIVE'
                    AND NOT (locked.closes_automatically AND locked.expires_at <= :now::timestamptz) THEN 'poll_open'
                WHEN locked.applied_as IS NOT NULL THEN 'poll_applied'
                ELSE 'ok' END AS verdict
    FROM gate LEFT JOIN locked ON true
), updated AS (
    UPDATE polls p
    SET applied_as = :target::text, applied_option_id = :option_id::uuid, applied_todo_id = :todo_id::uuid,
        applied_at = :now::timestamptz, updated_at = :now::timestamptz
    FROM checked WHERE checked.verdict = 'ok' AND p.id = checked.id
    RETURNING p.*
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
    SELECT :event_id::uuid, 'POLL_UPDATED', 'poll_model', trip_id, :caller::uuid, 'trip', updated_at,
           jsonb_build_object('pollId', id, 'tripId', trip_id, 'question', question, 'appliedTo', applied_as)
    FROM updated
)
SELECT verdict FROM checked

-- name: close_due
WITH due AS (
    SELECT id FROM polls
    WHERE closes_automatically AND status = 'ACTIVE' AND deleted_at IS NULL AND expires_at <= :now::timestamptz
    ORDER BY expires_at LIMIT :limit::int
    FOR UPDATE SKIP LOCKED
), closed AS (
    UPDATE polls p SET status = 'CLOSED', closed_at = p.expires_at, updated_at = :now::timestamptz
    FROM due WHERE p.id = due.id
    RETURNING p.*
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, audience, occurred_at, payload)
    SELECT caused_id(concat_ws('|', 'poll closed', id)), 'POLL_CLOSED', 'poll_model', trip_id, 'trip',
           :now::timestamptz,
           jsonb_build_object('pollId', id, 'tripId', trip_id, 'question', question, 'createdBy', created_by)
    FROM closed
    ON CONFLICT (id) DO NOTHING
)
SELECT 1 AS closed FROM closed

-- name: remind
-- The members who have not voted are named in the event. A reminder that is too late is dropped.
WITH due AS (
    SELECT id FROM polls
    WHERE remind_at <= :now::timestamptz AND status = 'ACTIVE' AND deleted_at IS NULL
    ORDER BY remind_at LIMIT :limit::int
    FOR UPDATE SKIP LOCKED
), reminded AS (
    UPDATE polls p SET remind_at = NULL FROM due WHERE p.id = due.id
    RETURNING p.*
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, audience, occurred_at, payload)
    SELECT caused_id(concat_ws('|', 'poll reminder', p.id)), 'poll.reminder', 'poll_model', p.trip_id, 'internal',
           :now::timestamptz,
           jsonb_build_object('pollId', p.id, 'tripId', p.trip_id, 'question', p.question,
                              'createdBy', p.created_by, 'waitingFor', waiting.users)
    FROM reminded p CROSS JOIN LATERAL (
        SELECT jsonb_agg(m.user_id ORDER BY m.created_at, m.id) AS users
        FROM trip_memberships m
        WHERE m.trip_id = p.trip_id AND m.status = 'ACTIVE'
            AND NOT EXISTS (SELECT FROM poll_votes v WHERE v.poll_id = p.id AND v.user_id = m.user_id)
    ) waiting
    WHERE p.expires_at > :now::timestamptz AND waiting.users IS NOT NULL
    ON CONFLICT (id) DO NOTHING
)
SELECT 1 AS reminded FROM reminded
