-- name: add
WITH gate AS MATERIALIZED (
    SELECT * FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int)
), idempotency_key AS (
    INSERT INTO replays AS r (key, result_id, expires_at)
    SELECT :fingerprint::bytea, :id::uuid, :kept_until::timestamptz FROM gate WHERE verdict = 'ok'
    ON CONFLICT (key) DO UPDATE SET result_id = excluded.result_id, expires_at = excluded.expires_at
    WHERE r.expires_at <= :now::timestamptz
    RETURNING result_id
), inserted AS (
    INSERT INTO todos (id, trip_id, text, status, created_by, created_at, updated_at)
    SELECT result_id, :trip_id::uuid, :text::text, :status::text, :caller::uuid, :now::timestamptz,
           :now::timestamptz
    FROM idempotency_key
    RETURNING *
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
    SELECT :event_id::uuid, 'TODO_CREATED', 'todo_model', trip_id, created_by, 'trip', created_at,
           todo_json(id, trip_id, text, status, created_by, created_at, updated_at)
    FROM inserted
)
SELECT CASE WHEN gate.verdict <> 'ok' THEN gate.verdict
            WHEN EXISTS (SELECT FROM idempotency_key) THEN 'ok'
            ELSE 'replayed' END AS verdict
FROM gate

-- name: replayed
SELECT t.id, t.trip_id, t.text, t.status, t.created_by, t.created_at, t.updated_at
FROM replays r JOIN todos t ON t.id = r.result_id AND t.deleted_at IS NULL
WHERE r.key = :fingerprint::bytea

-- name: page
SELECT gate.verdict, counted.total, t.id, t.trip_id, t.text, t.status, t.created_by, t.created_at, t.updated_at
FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int) gate
LEFT JOIN LATERAL (
    SELECT count(*) AS total FROM todos WHERE trip_id = gate.trip_id AND deleted_at IS NULL
) counted ON gate.verdict = 'ok'
LEFT JOIN LATERAL (
    SELECT * FROM todos WHERE trip_id = gate.trip_id AND deleted_at IS NULL
        AND (:after_at::timestamptz IS NULL OR (created_at, id) < (:after_at::timestamptz, :after_id::uuid))
    ORDER BY created_at DESC, id DESC LIMIT :limit::int OFFSET :offset::int
) t ON gate.verdict = 'ok'
ORDER BY t.created_at DESC, t.id DESC

-- name: one
SELECT CASE WHEN gate.verdict = 'ok' AND t.id IS NULL THEN 'todo_not_found' ELSE gate.verdict END AS verdict,
       t.id, t.trip_id, t.text, t.status, t.created_by, t.created_at, t.updated_at
FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int) gate
LEFT JOIN todos t
    ON gate.verdict = 'ok' AND t.id = :id::uuid AND t.trip_id = gate.trip_id AND t.deleted_at IS NULL

-- name: change
WITH gate AS MATERIALIZED (
    SELECT * FROM trip_gate(:trip_id::uuid, :caller::uuid, 1)
), old AS (
    SELECT t.* FROM gate
    JOIN todos t ON t.id = :id::uuid AND t.trip_id = gate.trip_id AND t.deleted_at IS NULL
    WHERE gate.verdict = 'ok'
    FOR UPDATE OF t
), checked AS (
    SELECT CASE WHEN gate.verdict <> 'ok' THEN gate.verdict
                WHEN old.id IS NULL THEN 'todo_not_found'
                WHEN may_change(gate.rank, old.created_by, :caller::uuid, :min_rank::int, :own::boolean) THEN 'ok'
                ELSE 'insufficient_permissions' END AS verdict
    FROM gate LEFT JOIN old ON true
), updated AS (
    UPDATE todos t
    SET text = coalesce(:text::text, old.text), status = coalesce(:status::text, old.status),
        updated_at = :now::timestamptz
    FROM old, checked
    WHERE checked.verdict = 'ok' AND t.id = old.id
        AND (coalesce(:text::text, old.text), coalesce(:status::text, old.status)) <> (old.text, old.status)
    RETURNING t.*
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
    SELECT :event_id::uuid, 'TODO_UPDATED', 'todo_model', c.trip_id, :caller::uuid, 'trip', c.updated_at,
           todo_json(c.id, c.trip_id, c.text, c.status, c.created_by, c.created_at, c.updated_at)
               || jsonb_build_object('previousStatus', old.status)
    FROM updated c, old
)
SELECT checked.verdict, old.id, old.trip_id, coalesce(updated.text, old.text) AS text,
       coalesce(updated.status, old.status) AS status, old.created_by, old.created_at,
       coalesce(updated.updated_at, old.updated_at) AS updated_at
FROM checked LEFT JOIN old ON true LEFT JOIN updated ON true

-- name: delete
WITH gate AS MATERIALIZED (
    SELECT * FROM trip_gate(:trip_id::uuid, :caller::uuid, 1)
), old AS (
    SELECT t.* FROM gate
    JOIN todos t ON t.id = :id::uuid AND t.trip_id = gate.trip_id AND t.deleted_at IS NULL
    WHERE gate.verdict = 'ok'
    FOR UPDATE OF t
), checked AS (
    SELECT CASE WHEN gate.verdict <> 'ok' THEN gate.verdict
                WHEN old.id IS NULL THEN 'todo_not_found'
                WHEN may_change(gate.rank, old.created_by, :caller::uuid, :min_rank::int, :own::boolean) THEN 'ok'
                ELSE 'insufficient_permissions' END AS verdict
    FROM gate LEFT JOIN old ON true
), deleted AS (
    UPDATE todos t SET deleted_at = :now::timestamptz, updated_at = :now::timestamptz
    FROM old, checked WHERE checked.verdict = 'ok' AND t.id = old.id
    RETURNING t.id, t.trip_id
), deleted_key AS (
    -- The same text may be created again at once.
    DELETE FROM replays r USING deleted WHERE r.result_id = deleted.id
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
    SELECT :event_id::uuid, 'TODO_DELETED', 'todo_model', trip_id, :caller::uuid, 'trip', :now::timestamptz,
           jsonb_build_object('id', id)
    FROM deleted
)
SELECT verdict FROM checked
