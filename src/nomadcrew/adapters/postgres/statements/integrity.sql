-- name: faults
-- Counts and limits that the writes keep, counted again. Each fault has its check and its subject, the stored or
-- allowed number and the counted one.
WITH crew AS MATERIALIZED (
    SELECT t.id, t.member_count, t.deleted_at, count(m.id) AS members,
           count(m.id) FILTER (WHERE m.role = 'OWNER') AS owners
    FROM trips t LEFT JOIN trip_memberships m ON m.trip_id = t.id AND m.status = 'ACTIVE'
    GROUP BY t.id
), faults AS (
    SELECT 'member_count' AS fault, id AS subject, member_count::bigint AS stored, members AS counted
    FROM crew WHERE member_count <> members
    UNION ALL
    SELECT 'owners', id, 1, owners FROM crew WHERE deleted_at IS NULL AND owners <> 1
    UNION ALL
    SELECT 'members', id, :max_members::bigint, members FROM crew WHERE members > :max_members::bigint
    UNION ALL
    SELECT 'trips', user_id, :max_trips::bigint, count(*) FROM trip_memberships WHERE status = 'ACTIVE'
    GROUP BY user_id HAVING count(*) > :max_trips::bigint
    UNION ALL
    SELECT 'reactions', message_id, :max_reactions::bigint, count(*) FROM chat_reactions
    GROUP BY message_id, user_id HAVING count(*) > :max_reactions::bigint
    UNION ALL
    SELECT 'edits', message_id, :max_edits::bigint, count(*) FROM chat_edits
    GROUP BY message_id HAVING count(*) > :max_edits::bigint
    UNION ALL
    SELECT 'traces_of_deleted_messages', m.id, 0, count(*)
    FROM chat_messages m JOIN (
        SELECT message_id FROM chat_reactions UNION ALL SELECT message_id FROM chat_edits
    ) AS trace ON trace.message_id = m.id
    WHERE m.deleted_at IS NOT NULL GROUP BY m.id
    UNION ALL
    SELECT 'message_numbers', t.trip_id, t.last_seq, max(m.seq)
    FROM chat_threads t JOIN chat_messages m ON m.trip_id = t.trip_id
    GROUP BY t.trip_id HAVING max(m.seq) > t.last_seq
    UNION ALL
    -- The lengths of the texts, in bytes.
    SELECT 'trip_card', t.id, coalesce(octet_length(stored.body), 0), octet_length(trip_card(t.id))
    FROM trips t LEFT JOIN trip_cards stored ON stored.trip_id = t.id
    WHERE t.deleted_at IS NULL AND stored.body IS DISTINCT FROM trip_card(t.id)
    UNION ALL
    SELECT 'phones', user_id, :max_phones::bigint, count(*) FROM user_push_tokens WHERE is_active
    GROUP BY user_id HAVING count(*) > :max_phones::bigint
)
SELECT fault, subject, stored, counted
FROM faults ORDER BY fault, subject LIMIT :limit::int

-- name: correct_member_counts
WITH counted AS MATERIALIZED (
    SELECT t.id, locked_member_count(t.id) AS members FROM trips t
    WHERE t.member_count <> (SELECT count(*) FROM trip_memberships m WHERE m.trip_id = t.id AND m.status = 'ACTIVE')
    ORDER BY t.id
)
UPDATE trips t SET member_count = counted.members
FROM counted WHERE t.id = counted.id AND t.member_count <> counted.members
RETURNING t.id

-- name: renew_trip_cards
WITH untrue AS MATERIALIZED (
    SELECT t.id FROM trips t LEFT JOIN trip_cards stored ON stored.trip_id = t.id
    WHERE t.deleted_at IS NULL AND stored.body IS DISTINCT FROM trip_card(t.id)
    ORDER BY t.id
)
SELECT untrue.id, renew_trip_card(untrue.id)::text AS renewed FROM untrue
