-- name: find
WITH gate AS MATERIALIZED (
    SELECT * FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int)
), words AS MATERIALIZED (
    SELECT ARRAY(SELECT jsonb_array_elements_text(:patterns::jsonb)) AS patterns
)
SELECT gate.verdict, coalesce(thread.last_seq > :searched::int, false) AS has_older_messages,
       f.kind, f.id, f.text, f.user_id, f.created_at
FROM gate
LEFT JOIN chat_threads thread ON gate.verdict = 'ok' AND thread.trip_id = gate.trip_id
LEFT JOIN LATERAL (
    (SELECT 'member' AS kind, p.id, concat_ws(' · ', display_name(p), nullif(p.username, display_name(p))) AS text,
            p.id AS user_id, m.joined_at AS created_at
     FROM trip_memberships m JOIN user_profiles p ON p.id = m.user_id
     WHERE m.trip_id = gate.trip_id AND m.status = 'ACTIVE'
        AND concat_ws(' ', p.username_search, p.first_name_search, p.last_name_search) LIKE ALL ((SELECT patterns FROM words)::text[])
     ORDER BY m.joined_at DESC, p.id DESC LIMIT :limit::int)
    UNION ALL
    (SELECT 'document', id, name, user_id, created_at FROM documents
     WHERE trip_id = gate.trip_id AND deleted_at IS NULL AND stored_at IS NOT NULL
        AND name_search LIKE ALL ((SELECT patterns FROM words)::text[])
     ORDER BY created_at DESC, id DESC LIMIT :limit::int)
    UNION ALL
    (SELECT 'poll', p.id, concat_ws(' · ', p.question, o.texts), p.created_by, p.created_at
     FROM (
         SELECT * FROM polls WHERE trip_id = gate.trip_id AND deleted_at IS NULL
         ORDER BY created_at DESC, id DESC LIMIT :searched_polls::int
     ) p
     CROSS JOIN LATERAL (
         SELECT string_agg(text, ' · ' ORDER BY position) AS texts,
                string_agg(text_search, ' ') AS key
         FROM poll_options WHERE poll_id = p.id
     ) o
     WHERE concat_ws(' ', p.question_search, o.key) LIKE ALL ((SELECT patterns FROM words)::text[])
     ORDER BY p.created_at DESC, p.id DESC LIMIT :limit::int)
    UNION ALL
    (SELECT 'todo', id, text, created_by, created_at
     FROM (
         SELECT * FROM todos WHERE trip_id = gate.trip_id AND deleted_at IS NULL
         ORDER BY created_at DESC, id DESC LIMIT :searched::int
     ) t
     WHERE text_search LIKE ALL ((SELECT patterns FROM words)::text[])
     ORDER BY created_at DESC, id DESC LIMIT :limit::int)
    UNION ALL
    (SELECT 'message', id, body, user_id, created_at FROM chat_messages
     WHERE trip_id = gate.trip_id AND seq > thread.last_seq - :searched::int AND deleted_at IS NULL
        AND folded LIKE ALL ((SELECT patterns FROM words)::text[])
     ORDER BY seq DESC LIMIT :limit::int)
) f ON gate.verdict = 'ok'
