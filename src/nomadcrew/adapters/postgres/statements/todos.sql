-- name: add
-- Any number of to-dos at once, one verdict each. Keys are locked in their order, which prevents deadlocks.
WITH input AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(:todos::jsonb) AS t (
        n int, id uuid, trip_id uuid, text text, text_search text, status text, caller uuid, min_rank int,
        event_id uuid, now timestamptz, fingerprint text, kept_until timestamptz, assignee_id uuid, due_at timestamptz,
        position float8)
), checked AS MATERIALIZED (
    SELECT input.*, CASE WHEN gate.verdict = 'ok' AND input.assignee_id IS NOT NULL
                             AND NOT is_active_member(input.trip_id, input.assignee_id)
                         THEN 'assignee_not_member' ELSE gate.verdict END AS verdict
    FROM input CROSS JOIN LATERAL trip_gate(input.trip_id, input.caller, input.min_rank) gate
), idempotency_key AS (
    INSERT INTO replays AS r (key, result_id, expires_at)
    SELECT DISTINCT ON (fingerprint) decode(fingerprint, 'hex'), id, kept_until
    FROM checked WHERE verdict = 'ok'
    ORDER BY fingerprint, n
    ON CONFLICT (key) DO UPDATE SET result_id = excluded.result_id, expires_at = excluded.expires_at
    WHERE r.expires_at <= :now::timestamptz
    RETURNING result_id
), accepted AS (
    SELECT checked.* FROM checked JOIN idempotency_key ON result_id = checked.id
), inserted AS (
    INSERT INTO todos (id, trip_id, text, text_search, status, created_by, created_at, updated_at, assignee_id, due_at,
                       position)
    SELECT id, trip_id, text, text_search, status, caller, now, now, assignee_id, due_at, position
    FROM accepted ORDER BY trip_id, n
    RETURNING id, todo_json(todos) AS payload
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
    SELECT event_id, 'TODO_CREATED', 'todo_model', trip_id, caller, 'trip', now, payload
    FROM accepted JOIN inserted USING (id)
    ORDER BY n
), assigned AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
    SELECT caused_id(concat_ws('|', 'todo.assigned', event_id)), 'todo.assigned', 'todo_model', trip_id, caller, 'internal', now, payload
    FROM accepted JOIN inserted USING (id)
    WHERE assignee_id <> caller
    ORDER BY n
)
SELECT CASE WHEN checked.verdict <> 'ok' OR accepted.n IS NOT NULL THEN checked.verdict ELSE 'replayed' END AS verdict
FROM checked LEFT JOIN accepted ON accepted.n = checked.n
ORDER BY checked.n

-- name: replayed
SELECT t.id, t.trip_id, t.text, t.status, t.created_by, t.created_at, t.updated_at, todo_assignee(t) AS assignee_id,
       t.due_at, t.position
FROM replays r JOIN todos t ON t.id = r.result_id AND t.deleted_at IS NULL
WHERE r.key = :fingerprint::bytea

-- name: page
SELECT gate.verdict, counted.total, t.id, t.trip_id, t.text, t.status, t.created_by, t.created_at, t.updated_at,
       t.assignee AS assignee_id, t.due_at, t.position
FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int) gate
LEFT JOIN LATERAL (
    SELECT count(*) AS total FROM todos WHERE trip_id = gate.trip_id AND deleted_at IS NULL
) counted ON gate.verdict = 'ok'
LEFT JOIN LATERAL (
    SELECT todos.*, todo_assignee(todos) AS assignee FROM todos WHERE trip_id = gate.trip_id AND deleted_at IS NULL
        AND (:after_at::timestamptz IS NULL OR (created_at, id) < (:after_at::timestamptz, :after_id::uuid))
    ORDER BY created_at DESC, id DESC LIMIT :limit::int OFFSET :offset::int
) t ON gate.verdict = 'ok'
ORDER BY t.created_at DESC, t.id DESC

-- name: one
SELECT CASE WHEN gate.verdict = 'ok' AND t.id IS NULL THEN 'todo_not_found' ELSE gate.verdict END AS verdict,
       t.id, t.trip_id, t.text, t.status, t.created_by, t.created_at, t.updated_at, todo_assignee(t) AS assignee_id,
       t.due_at, t.position
FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int) gate
LEFT JOIN todos t
    ON gate.verdict = 'ok' AND t.id = :id::uuid AND t.trip_id = gate.trip_id AND t.deleted_at IS NULL

-- name: change
-- Any number of to-dos at once, each once, one row each in the result. They are locked in the order of their ids.
WITH input AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(:changes::jsonb) AS c (
        n int, id uuid, trip_id uuid, caller uuid, min_rank int, own boolean, event_id uuid, now timestamptz,
        fields jsonb, text_search text)
), gated AS MATERIALIZED (
    SELECT input.*, gate.verdict, gate.rank
    FROM input CROSS JOIN LATERAL trip_gate(input.trip_id, input.caller, 1) gate
), old AS MATERIALIZED (
    SELECT t.*, todo_assignee(t) AS assignee FROM gated
    JOIN todos t ON t.id = gated.id AND t.trip_id = gated.trip_id AND t.deleted_at IS NULL
    WHERE gated.verdict = 'ok'
    ORDER BY t.id
    FOR UPDATE OF t
), wanted AS MATERIALIZED (
    SELECT gated.n, coalesce(fields ->> 'text', old.text) AS text, coalesce(fields ->> 'status', old.status) AS status,
           CASE WHEN fields ? 'assignee_id' THEN (fields ->> 'assignee_id')::uuid ELSE old.assignee END AS assignee_id,
           CASE WHEN fields ? 'due_at' THEN (fields ->> 'due_at')::timestamptz ELSE old.due_at END AS due_at,
           CASE WHEN fields ? 'position' THEN (fields ->> 'position')::float8 ELSE old.position END AS position
    FROM gated JOIN old USING (id)
), checked AS MATERIALIZED (
    SELECT gated.caller, gated.event_id, gated.now, old.id, old.trip_id, old.created_by,
           old.created_at, old.updated_at, old.status AS old_status, old.assignee AS old_assignee,
           (old.text, old.status, old.assignee, old.due_at, old.position)
               IS DISTINCT FROM (wanted.text, wanted.status, wanted.assignee_id, wanted.due_at, wanted.position) AS changes,
           CASE WHEN gated.verdict <> 'ok' THEN gated.verdict
                WHEN old.id IS NULL THEN 'todo_not_found'
                WHEN NOT may_change(gated.rank, old.created_by, gated.caller, gated.min_rank, gated.own)
                    THEN 'insufficient_permissions'
                WHEN wanted.assignee_id IS DISTINCT FROM old.assignee AND wanted.assignee_id IS NOT NULL
                    AND NOT is_active_member(old.trip_id, wanted.assignee_id) THEN 'assignee_not_member'
                ELSE 'ok' END AS verdict,
           gated.n, gated.text_search, wanted.text, wanted.status, wanted.assignee_id, wanted.due_at, wanted.position
    FROM gated
    LEFT JOIN old ON old.id = gated.id AND old.trip_id = gated.trip_id
    LEFT JOIN wanted ON wanted.n = gated.n
), updated AS (
    UPDATE todos t
    SET text = c.text, text_search = coalesce(c.text_search, t.text_search), status = c.status,
        assignee_id = c.assignee_id, due_at = c.due_at, position = c.position, updated_at = c.now
    FROM checked c
    WHERE c.verdict = 'ok' AND t.id = c.id AND c.changes
    RETURNING c.n, t.updated_at, todo_json(t) AS payload
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
    SELECT c.event_id, 'TODO_UPDATED', 'todo_model', c.trip_id, c.caller, 'trip', updated.updated_at,
           payload || jsonb_build_object('previousStatus', c.old_status)
    FROM updated JOIN checked c ON c.n = updated.n
    ORDER BY c.n
), assigned AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
    SELECT caused_id(concat_ws('|', 'todo.assigned', c.event_id)), 'todo.assigned', 'todo_model', c.trip_id, c.caller,
           'internal', updated.updated_at, payload
    FROM updated JOIN checked c ON c.n = updated.n
    WHERE c.assignee_id <> c.caller AND c.assignee_id IS DISTINCT FROM c.old_assignee
    ORDER BY c.n
)
SELECT c.verdict, c.id, c.trip_id, c.text, c.status, c.created_by, c.created_at,
       coalesce(updated.updated_at, c.updated_at) AS updated_at, c.assignee_id, c.due_at, c.position
FROM checked c LEFT JOIN updated ON updated.n = c.n
ORDER BY c.n

-- name: delete
-- Any number of to-dos at once, each once, one verdict each. They are locked in the order of their ids, then their keys.
WITH input AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(:deletions::jsonb) AS d (
        n int, id uuid, trip_id uuid, caller uuid, min_rank int, own boolean, event_id uuid, now timestamptz)
), gated AS MATERIALIZED (
    SELECT input.*, gate.verdict, gate.rank
    FROM input CROSS JOIN LATERAL trip_gate(input.trip_id, input.caller, 1) gate
), old AS MATERIALIZED (
    SELECT t.* FROM gated
    JOIN todos t ON t.id = gated.id AND t.trip_id = gated.trip_id AND t.deleted_at IS NULL
    WHERE gated.verdict = 'ok'
    ORDER BY t.id
    FOR UPDATE OF t
), checked AS MATERIALIZED (
    SELECT gated.n, gated.id, gated.trip_id, gated.caller, gated.event_id, gated.now,
           CASE WHEN gated.verdict <> 'ok' THEN gated.verdict
                WHEN old.id IS NULL THEN 'todo_not_found'
                WHEN may_change(gated.rank, old.created_by, gated.caller, gated.min_rank, gated.own) THEN 'ok'
                ELSE 'insufficient_permissions' END AS verdict
    FROM gated LEFT JOIN old ON old.id = gated.id AND old.trip_id = gated.trip_id
), deleted AS (
    UPDATE todos t SET deleted_at = c.now, updated_at = c.now
    FROM checked c WHERE c.verdict = 'ok' AND t.id = c.id
    RETURNING t.id
), key AS MATERIALIZED (
    SELECT r.key FROM replays r JOIN deleted ON r.result_id = deleted.id ORDER BY r.key FOR UPDATE OF r
), deleted_key AS (
    -- The same text may be created again at once.
    DELETE FROM replays r USING key WHERE r.key = key.key
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
    SELECT event_id, 'TODO_DELETED', 'todo_model', trip_id, caller, 'trip', now, jsonb_build_object('id', id)
    FROM checked WHERE verdict = 'ok'
    ORDER BY n
)
SELECT verdict FROM checked ORDER BY n

-- name: remind
-- Each due time of an incomplete to-do is announced once, within `ahead_s` before it.
WITH due AS (
    SELECT t.id FROM todos t JOIN trips ON trips.id = t.trip_id AND trips.deleted_at IS NULL
    WHERE t.due_at > :now::timestamptz AND t.due_at <= :now::timestamptz + make_interval(secs => :ahead_s::int)
        AND t.status = 'INCOMPLETE' AND t.deleted_at IS NULL AND t.reminded_of IS DISTINCT FROM t.due_at
    ORDER BY t.due_at, t.id LIMIT :limit::int
    FOR UPDATE OF t SKIP LOCKED
), reminded AS (
    UPDATE todos t SET reminded_of = t.due_at FROM due WHERE t.id = due.id
    RETURNING t.id, t.trip_id, t.due_at, todo_json(t) AS payload
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, audience, occurred_at, payload)
    SELECT caused_id(concat_ws('|', 'todo.due', id, due_at)), 'todo.due', 'todo_model', trip_id, 'internal',
           :now::timestamptz, payload
    FROM reminded
    ON CONFLICT (id) DO NOTHING
)
SELECT 1 AS reminded FROM reminded
