-- name: get
-- The first page of each list in `parts`, in its order. `n` is the place of an item, `total` the length of its list.
WITH gate AS MATERIALIZED (
    SELECT * FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int)
), wanted AS MATERIALIZED (
    SELECT trip_id AS trip, part, size
    FROM gate CROSS JOIN jsonb_to_recordset(:parts::jsonb) AS asked (part text, size int) WHERE verdict = 'ok'
), item AS (
    SELECT part, 1::bigint AS n, 1::bigint AS total, body
    FROM wanted JOIN trip_cards ON trip_cards.trip_id = trip WHERE part = 'trip'
    UNION ALL
    SELECT part, row_number() OVER (ORDER BY m.created_at, m.id), 0, member_record(m, p)::text
    FROM wanted JOIN trip_memberships m ON m.trip_id = trip AND m.status = 'ACTIVE'
    JOIN user_profiles p ON p.id = m.user_id WHERE part = 'members'
    UNION ALL
    SELECT part, t.n, t.total, todo_record(t.item)::text FROM wanted CROSS JOIN LATERAL (
        SELECT row_number() OVER (ORDER BY todos.created_at DESC, id DESC) AS n, count(*) OVER () AS total,
               todos AS item
        FROM todos WHERE todos.trip_id = trip AND deleted_at IS NULL ORDER BY n LIMIT size
    ) t WHERE part = 'todos'
    UNION ALL
    SELECT part, p.n, p.total, poll_record(p.item)::text FROM wanted CROSS JOIN LATERAL (
        SELECT row_number() OVER (ORDER BY created_at DESC, id DESC) AS n, count(*) OVER () AS total,
               polls AS item
        FROM polls WHERE polls.trip_id = trip AND deleted_at IS NULL ORDER BY n LIMIT size
    ) p WHERE part = 'polls'
    UNION ALL
    SELECT part, d.n, d.total, document_record(d.item)::text FROM wanted CROSS JOIN LATERAL (
        SELECT row_number() OVER (ORDER BY documents.created_at DESC, id DESC) AS n, count(*) OVER () AS total,
               documents AS item
        FROM documents WHERE documents.trip_id = trip AND deleted_at IS NULL AND stored_at IS NOT NULL
        ORDER BY n LIMIT size
    ) d WHERE part = 'documents'
    UNION ALL
    SELECT part, p.n, 0, picture_record(p.item)::text FROM wanted CROSS JOIN LATERAL (
        SELECT row_number() OVER (ORDER BY pictures.created_at DESC, id DESC) AS n, pictures AS item
        FROM pictures WHERE pictures.trip_id = trip AND deleted_at IS NULL AND stored_at IS NOT NULL
        ORDER BY n LIMIT size
    ) p WHERE part = 'photos'
    UNION ALL
    -- One more message tells whether there is another page; `total` is a message's number.
    SELECT part, -m.seq, m.seq, message_record(m.item, :caller::uuid)::text FROM wanted CROSS JOIN LATERAL (
        SELECT seq, chat_messages AS item FROM chat_messages WHERE chat_messages.trip_id = trip ORDER BY seq DESC LIMIT size + 1
    ) m WHERE part = 'messages'
    UNION ALL
    SELECT part, row_number() OVER (ORDER BY r.read_at DESC, r.user_id), 0, receipt_record(r, u)::text
    FROM wanted JOIN chat_receipts r ON r.trip_id = trip
    JOIN trip_memberships m ON m.trip_id = trip AND m.user_id = r.user_id AND m.status = 'ACTIVE'
    JOIN user_profiles u ON u.id = r.user_id WHERE part = 'receipts'
)
SELECT verdict, item.part, item.n, total, parts.part AS text
FROM gate LEFT JOIN item ON true LEFT JOIN LATERAL card_parts(body) parts ON body IS NOT NULL
ORDER BY item.part, item.n, parts.n
