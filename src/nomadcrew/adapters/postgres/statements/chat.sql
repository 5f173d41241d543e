-- name: add
-- Any number of messages at once, one verdict each. A writer locks the row of the trip's thread until the commit;
-- threads are locked in the order of their ids, which prevents deadlocks.
WITH input AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(:messages::jsonb) AS m (
        n int, id uuid, trip_id uuid, user_id uuid, body text, folded text, reply_to_id uuid, mentions jsonb,
        event_id uuid, now timestamptz, kept_until timestamptz, fingerprint text, attachment_id uuid)
), checked AS MATERIALIZED (
    SELECT input.*,
           CASE WHEN gate.verdict <> 'ok' THEN gate.verdict
                WHEN existing.id IS NOT NULL THEN 'known'
                WHEN input.reply_to_id IS NOT NULL AND reply.id IS NULL THEN 'reply_not_found'
                WHEN input.attachment_id IS NOT NULL AND file.id IS NULL THEN 'attachment_not_found'
                -- A repeat without a client-made id is recognised by its fingerprint below.
                WHEN file.message_id IS NOT NULL AND NOT EXISTS (
                    SELECT FROM replays r WHERE r.key = decode(input.fingerprint, 'hex')
                        AND r.result_id = file.message_id AND r.expires_at > :now::timestamptz)
                THEN 'attachment_used'
                ELSE 'ok' END AS verdict
    FROM input
    CROSS JOIN LATERAL trip_gate(input.trip_id, input.user_id, :min_rank::int) gate
    -- LIMIT keeps the planner, which expects a hundred messages in a batch, from reading whole tables.
    LEFT JOIN LATERAL (SELECT id FROM chat_messages m WHERE m.id = input.id LIMIT 1) AS existing ON true
    LEFT JOIN LATERAL (
        SELECT id FROM chat_messages m
        WHERE m.id = input.reply_to_id AND m.trip_id = input.trip_id AND m.deleted_at IS NULL LIMIT 1
    ) AS reply ON true
    LEFT JOIN LATERAL (
        SELECT id, message_id FROM attachments a
        WHERE a.id = input.attachment_id AND a.trip_id = input.trip_id AND a.user_id = input.user_id
            AND a.deleted_at IS NULL LIMIT 1
    ) AS file ON true
), idempotency_key AS (
    INSERT INTO replays AS r (key, result_id, expires_at)
    SELECT DISTINCT ON (fingerprint) decode(fingerprint, 'hex'), id, kept_until
    FROM checked WHERE verdict = 'ok' AND fingerprint IS NOT NULL
    ORDER BY fingerprint, n
    ON CONFLICT (key) DO UPDATE SET result_id = excluded.result_id, expires_at = excluded.expires_at
    WHERE r.expires_at <= :now::timestamptz
    RETURNING result_id
), candidate AS MATERIALIZED (
    SELECT * FROM checked
    WHERE verdict = 'ok' AND (fingerprint IS NULL OR id IN (SELECT result_id FROM idempotency_key))
), attached AS (
    -- Only one of two messages with the same file gets it.
    UPDATE attachments a SET message_id = candidate.id FROM candidate
    WHERE a.id = candidate.attachment_id AND a.message_id IS NULL AND a.deleted_at IS NULL
    RETURNING candidate.n,
              jsonb_build_object('id', a.id, 'type', a.type, 'size_bytes', a.size_bytes, 'name', a.name) AS file
), accepted AS (
    SELECT candidate.*, attached.file,
           row_number() OVER (PARTITION BY trip_id ORDER BY candidate.n) - count(*) OVER (PARTITION BY trip_id)
               AS from_last
    FROM candidate LEFT JOIN attached ON attached.n = candidate.n
    WHERE candidate.attachment_id IS NULL OR attached.n IS NOT NULL
), thread AS (
    INSERT INTO chat_threads AS t (trip_id, last_seq, last_at)
    SELECT trip_id, count(*), max(now) FROM accepted GROUP BY trip_id ORDER BY trip_id
    ON CONFLICT (trip_id) DO UPDATE SET
        last_seq = t.last_seq + excluded.last_seq,
        last_at = greatest(t.last_at + excluded.last_seq * interval '1 microsecond', excluded.last_at)
    RETURNING t.trip_id, t.last_seq, t.last_at
), inserted AS (
    INSERT INTO chat_messages (id, trip_id, seq, user_id, body, folded, reply_to_id, event_id, created_at, attachment)
    SELECT accepted.id, accepted.trip_id, thread.last_seq + from_last, user_id, body, folded, reply_to_id, event_id,
           thread.last_at + from_last * interval '1 microsecond', accepted.file
    FROM accepted JOIN thread ON thread.trip_id = accepted.trip_id
    ORDER BY accepted.trip_id, n
    ON CONFLICT (id) DO NOTHING
    RETURNING *
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
    SELECT inserted.event_id, 'CHAT_MESSAGE_SENT', 'chat-service', inserted.trip_id, inserted.user_id, 'trip',
           inserted.created_at,
           chat_json(inserted::chat_messages, u) || jsonb_build_object('mentions', coalesce(mentioned.ids, '[]'::jsonb))
    FROM inserted
    JOIN user_profiles u ON u.id = inserted.user_id
    JOIN accepted ON accepted.event_id = inserted.event_id
    LEFT JOIN LATERAL (
        -- Of the names that a mention may mean, the longest that a member has.
        SELECT jsonb_agg(found.user_id ORDER BY found.n) AS ids
        FROM (
            SELECT person.user_id, min(mention.n) AS n
            FROM jsonb_array_elements(accepted.mentions) WITH ORDINALITY AS mention (names, n)
            CROSS JOIN LATERAL (
                SELECT m.user_id
                FROM jsonb_array_elements_text(mention.names) WITH ORDINALITY AS name (key, priority)
                JOIN user_profiles p ON p.username_key = name.key
                JOIN trip_memberships m
                    ON m.trip_id = inserted.trip_id AND m.user_id = p.id AND m.status = 'ACTIVE'
                ORDER BY name.priority LIMIT 1
            ) AS person
            GROUP BY person.user_id
        ) AS found
    ) AS mentioned ON true
    ORDER BY inserted.trip_id, inserted.seq
)
SELECT CASE WHEN checked.verdict = 'ok' AND candidate.n IS NOT NULL AND accepted.n IS NULL THEN 'attachment_used'
            WHEN checked.verdict = 'ok' AND inserted.id IS NULL THEN 'known'
            ELSE checked.verdict END AS verdict,
       inserted.created_at, inserted.attachment::text AS attachment, display_name(u) AS sender_name, u.avatar_url
FROM checked
LEFT JOIN candidate ON candidate.n = checked.n
LEFT JOIN accepted ON accepted.n = checked.n
LEFT JOIN inserted ON inserted.id = checked.id AND inserted.trip_id = checked.trip_id
    AND inserted.user_id = checked.user_id
LEFT JOIN user_profiles u ON u.id = checked.user_id
ORDER BY checked.n

-- name: stored
-- The message that the first request stored: by its id, or by the id stored with its fingerprint.
SELECT m.id, m.trip_id, m.body, m.reply_to_id, m.created_at, m.edited_at, m.deleted_at,
       m.attachment::text AS attachment,
       u.id AS sender_id, display_name(u) AS sender_name, u.avatar_url,
       chat_reaction_counts(m.id, :caller::uuid)::text AS reactions
FROM chat_messages m JOIN user_profiles u ON u.id = m.user_id
WHERE m.id = coalesce((SELECT result_id FROM replays WHERE key = :fingerprint::bytea), :id::uuid)
    AND m.trip_id = :trip_id::uuid AND m.user_id = :caller::uuid

-- name: before
-- With words: only messages that contain all of them.
WITH gate AS MATERIALIZED (
    SELECT * FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int)
), boundary AS MATERIALIZED (
    SELECT chat_place(gate.trip_id, :cursor::bigint, :cursor_id::uuid) AS seq FROM gate
)
SELECT CASE WHEN gate.verdict = 'ok' AND boundary.seq IS NULL THEN 'invalid_cursor' ELSE gate.verdict END
AS verdict,
       m.id, m.trip_id, m.seq, m.body, m.reply_to_id, m.created_at, m.edited_at, m.deleted_at,
       m.attachment::text AS attachment,
       u.id AS sender_id, display_name(u) AS sender_name, u.avatar_url,
       reactions.counts::text AS reactions
FROM gate CROSS JOIN boundary
LEFT JOIN LATERAL (
    SELECT * FROM chat_messages
    WHERE trip_id = gate.trip_id AND seq < boundary.seq
        AND (:words::jsonb = '[]' OR deleted_at IS NULL AND NOT EXISTS (
            SELECT FROM jsonb_array_elements_text(:words::jsonb) AS word WHERE position(word IN folded) = 0))
    ORDER BY seq DESC LIMIT :limit::int OFFSET :offset::int
) m ON gate.verdict = 'ok'
LEFT JOIN user_profiles u ON u.id = m.user_id
LEFT JOIN LATERAL chat_reactions_of(m.id, :caller::uuid) reactions ON true
ORDER BY m.seq DESC

-- name: after
WITH gate AS MATERIALIZED (
    SELECT * FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int)
), boundary AS MATERIALIZED (
    SELECT chat_place(gate.trip_id, :cursor::bigint, :cursor_id::uuid) AS seq FROM gate
)
SELECT CASE WHEN gate.verdict = 'ok' AND boundary.seq IS NULL THEN 'invalid_cursor' ELSE gate.verdict END
AS verdict,
       m.id, m.trip_id, m.seq, m.body, m.reply_to_id, m.created_at, m.edited_at, m.deleted_at,
       m.attachment::text AS attachment,
       u.id AS sender_id, display_name(u) AS sender_name, u.avatar_url,
       reactions.counts::text AS reactions
FROM gate CROSS JOIN boundary
LEFT JOIN LATERAL (
    SELECT * FROM chat_messages WHERE trip_id = gate.trip_id AND seq > boundary.seq ORDER BY seq LIMIT :limit::int
) m ON gate.verdict = 'ok'
LEFT JOIN user_profiles u ON u.id = m.user_id
LEFT JOIN LATERAL chat_reactions_of(m.id, :caller::uuid) reactions ON true
ORDER BY m.seq

-- name: transcript
WITH gate AS MATERIALIZED (
    SELECT * FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int)
), boundary AS MATERIALIZED (
    SELECT chat_place(gate.trip_id, :cursor::bigint, :cursor_id::uuid) AS seq FROM gate
)
SELECT CASE WHEN gate.verdict = 'ok' AND boundary.seq IS NULL THEN 'invalid_cursor' ELSE gate.verdict END
AS verdict,
       m.id, m.trip_id, m.seq, m.body, m.reply_to_id, m.created_at, m.edited_at, m.deleted_at,
       m.attachment::text AS attachment,
       u.id AS sender_id, display_name(u) AS sender_name, u.avatar_url,
       reactions.list AS reactions, edits.list AS edits
FROM gate CROSS JOIN boundary
LEFT JOIN LATERAL (
    SELECT * FROM chat_messages WHERE trip_id = gate.trip_id AND seq > boundary.seq ORDER BY seq LIMIT :limit::int
) m ON gate.verdict = 'ok'
LEFT JOIN user_profiles u ON u.id = m.user_id
LEFT JOIN LATERAL (
    SELECT json_agg(json_build_array(r.user_id, r.emoji, utc_text(r.created_at))
                    ORDER BY r.created_at, r.user_id, r.emoji)::text AS list
    FROM chat_reactions r WHERE r.message_id = m.id
) reactions ON true
LEFT JOIN LATERAL (
    SELECT json_agg(json_build_array(e.body, utc_text(e.edited_at)) ORDER BY e.edited_at, e.event_id)::text AS list
    FROM chat_edits e WHERE e.message_id = m.id AND m.user_id = :caller::uuid
) edits ON true
ORDER BY m.seq

-- name: restore
-- Messages of an import, in order; only while it is not finished.
WITH input AS MATERIALIZED (
    SELECT m.* FROM jsonb_to_recordset(:messages::jsonb) AS m (
        id uuid, seq bigint, user_id uuid, body text, folded text, reply_to_id uuid, event_id uuid, attachment jsonb,
        created_at timestamptz, edited_at timestamptz, deleted_at timestamptz, reactions jsonb, edits jsonb)
    WHERE is_importing(:trip_id::uuid)
), thread AS (
    INSERT INTO chat_threads AS t (trip_id, last_seq, last_at)
    SELECT :trip_id::uuid, max(seq), max(created_at) FROM input HAVING count(*) > 0
    ON CONFLICT (trip_id) DO UPDATE
    SET last_seq = greatest(t.last_seq, excluded.last_seq), last_at = greatest(t.last_at, excluded.last_at)
), inserted AS (
    INSERT INTO chat_messages (id, trip_id, seq, user_id, body, folded, reply_to_id, event_id, attachment, created_at,
                               edited_at, deleted_at)
    SELECT id, :trip_id::uuid, seq, user_id, body, folded, reply_to_id, event_id, attachment, created_at, edited_at,
           deleted_at
    FROM input ORDER BY seq
    ON CONFLICT DO NOTHING
    RETURNING id
), reacted AS (
    INSERT INTO chat_reactions (message_id, user_id, emoji, created_at)
    SELECT inserted.id, r.user_id, r.emoji, r.created_at
    FROM inserted JOIN input ON input.id = inserted.id
    CROSS JOIN LATERAL jsonb_to_recordset(input.reactions) AS r (user_id uuid, emoji text, created_at timestamptz)
    ON CONFLICT DO NOTHING
)
INSERT INTO chat_edits (event_id, message_id, body, edited_at)
SELECT e.event_id, inserted.id, e.body, e.edited_at
FROM inserted JOIN input ON input.id = inserted.id
CROSS JOIN LATERAL jsonb_to_recordset(input.edits) AS e (event_id uuid, body text, edited_at timestamptz)
ON CONFLICT DO NOTHING

-- name: edit
WITH gate AS MATERIALIZED (
    SELECT * FROM trip_gate(:trip_id::uuid, :caller::uuid, 1)
), old AS (
    SELECT m.* FROM gate
    JOIN chat_messages m ON m.id = :id::uuid AND m.trip_id = gate.trip_id AND m.deleted_at IS NULL
    WHERE gate.verdict = 'ok'
    FOR UPDATE OF m
), checked AS (
    SELECT CASE WHEN gate.verdict <> 'ok' THEN gate.verdict
                WHEN old.id IS NULL THEN 'message_not_found'
                WHEN NOT may_change(gate.rank, old.user_id, :caller::uuid, :min_rank::int, :own::boolean)
                THEN 'insufficient_permissions'
                WHEN old.body <> :body::text AND old.created_at < :editable_since::timestamptz
                THEN 'edit_window_over'
                WHEN old.body <> :body::text
                    AND edits_now(old.id) >= :max_edits::int
                THEN 'too_many_edits'
                ELSE 'ok' END AS verdict
    FROM gate LEFT JOIN old ON true
), updated AS (
    UPDATE chat_messages m SET body = :body::text, folded = :folded::text, edited_at = :now::timestamptz
    FROM old, checked
    WHERE checked.verdict = 'ok' AND m.id = old.id AND old.body <> :body::text
    RETURNING m.*
), previous_version AS (
    INSERT INTO chat_edits (event_id, message_id, body, edited_at)
    SELECT :event_id::uuid, old.id, old.body, updated.edited_at FROM updated JOIN old ON true
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
    SELECT :event_id::uuid, 'CHAT_MESSAGE_EDITED', 'chat-service', updated.trip_id, :caller::uuid, 'trip',
           :now::timestamptz, chat_json(updated::chat_messages, u)
    FROM updated JOIN user_profiles u ON u.id = updated.user_id
)
SELECT checked.verdict, old.id, old.trip_id, coalesce(updated.body, old.body) AS body, old.reply_to_id,
       old.created_at, coalesce(updated.edited_at, old.edited_at) AS edited_at, old.deleted_at,
       old.attachment::text AS attachment,
       u.id AS sender_id, display_name(u) AS sender_name, u.avatar_url,
       chat_reaction_counts(old.id, :caller::uuid)::text AS reactions
FROM checked LEFT JOIN old ON true LEFT JOIN updated ON true LEFT JOIN user_profiles u ON u.id = old.user_id

-- name: delete
WITH gate AS MATERIALIZED (
    SELECT * FROM trip_gate(:trip_id::uuid, :caller::uuid, 1)
), old AS (
    SELECT m.* FROM gate JOIN chat_messages m ON m.id = :id::uuid AND m.trip_id = gate.trip_id
    WHERE gate.verdict = 'ok'
    FOR UPDATE OF m
), checked AS (
    SELECT CASE WHEN gate.verdict <> 'ok' THEN gate.verdict
                WHEN old.id IS NULL THEN 'message_not_found'
                WHEN NOT may_change(gate.rank, old.user_id, :caller::uuid, :min_rank::int, :own::boolean)
                THEN 'insufficient_permissions'
                ELSE 'ok' END AS verdict
    FROM gate LEFT JOIN old ON true
), deleted AS (
    UPDATE chat_messages m SET body = :tombstone::text, folded = '', attachment = NULL,
    deleted_at = :now::timestamptz
    FROM old, checked
    WHERE checked.verdict = 'ok' AND m.id = old.id AND old.deleted_at IS NULL
    RETURNING m.id, m.trip_id, m.event_id
), erased AS MATERIALIZED (
    SELECT erase_message(id, event_id, :tombstone::text, :now::timestamptz) AS edits FROM deleted
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
    SELECT :event_id::uuid, 'CHAT_MESSAGE_DELETED', 'chat-service', trip_id, :caller::uuid, 'trip',
           :now::timestamptz, jsonb_build_object('messageId', id, 'tripId', trip_id)
    FROM deleted
)
-- A result that nothing reads would not be computed.
SELECT checked.verdict, (SELECT edits FROM erased) AS edits,
       (SELECT a.id FROM old JOIN attachments a ON a.message_id = old.id WHERE checked.verdict = 'ok') AS file_id
FROM checked

-- name: react
-- Any number of reactions at once, one per user and message, one row each in the result. Users are locked in the order of
-- their ids.
WITH input AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(:reactions::jsonb) AS r (
        n int, id uuid, trip_id uuid, caller uuid, min_rank int, emoji text, event_id uuid, now timestamptz)
), gated AS MATERIALIZED (
    SELECT input.*, gate.verdict
    FROM input CROSS JOIN LATERAL trip_gate(input.trip_id, input.caller, input.min_rank) gate
), own_reactions AS MATERIALIZED (
    SELECT ordered.n, locked.*
    FROM (SELECT * FROM gated WHERE verdict = 'ok' ORDER BY caller, id) AS ordered
    CROSS JOIN LATERAL locked_reactions(ordered.trip_id, ordered.id, ordered.caller, ordered.emoji) locked
), checked AS MATERIALIZED (
    SELECT gated.n, gated.id, gated.trip_id, gated.caller, gated.emoji, gated.event_id, gated.now,
           own_reactions.reacted_at,
           CASE WHEN gated.verdict <> 'ok' THEN gated.verdict
                WHEN own_reactions.others IS NULL THEN 'message_not_found'
                WHEN own_reactions.reacted_at IS NOT NULL THEN 'unchanged'
                WHEN own_reactions.others >= :max_reactions::int THEN 'too_many_reactions'
                ELSE 'ok' END AS verdict
    FROM gated LEFT JOIN own_reactions ON own_reactions.n = gated.n
), inserted AS (
    INSERT INTO chat_reactions (message_id, user_id, emoji, created_at)
    SELECT id, caller, emoji, now FROM checked WHERE verdict = 'ok' ORDER BY id, caller
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
    SELECT c.event_id, 'CHAT_REACTION_ADDED', 'chat-service', c.trip_id, c.caller, 'trip', c.now,
           jsonb_build_object('messageId', c.id, 'tripId', c.trip_id, 'reaction', c.emoji, 'user', person_json(u))
    FROM checked c JOIN user_profiles u ON u.id = c.caller WHERE c.verdict = 'ok'
    ORDER BY c.n
)
SELECT verdict, coalesce(reacted_at, now) AS created_at FROM checked ORDER BY n

-- name: unreact
-- Any number of reactions at once, one per user and message, one verdict each. Messages are locked before reactions, each
-- in the order of their ids.
WITH input AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(:reactions::jsonb) AS r (
        n int, id uuid, trip_id uuid, caller uuid, min_rank int, emoji text, event_id uuid, now timestamptz)
), gated AS MATERIALIZED (
    SELECT input.*, gate.verdict
    FROM input CROSS JOIN LATERAL trip_gate(input.trip_id, input.caller, input.min_rank) gate
), message AS MATERIALIZED (
    SELECT gated.n, m.id FROM gated JOIN chat_messages m ON m.id = gated.id AND m.trip_id = gated.trip_id
    WHERE gated.verdict = 'ok'
    ORDER BY m.id
    FOR SHARE OF m
), target AS MATERIALIZED (
    SELECT gated.n, r.message_id, r.user_id, r.emoji
    FROM message
    JOIN gated ON gated.n = message.n
    JOIN chat_reactions r ON r.message_id = message.id AND r.user_id = gated.caller
        AND emoji_key(r.emoji) = emoji_key(gated.emoji)
    ORDER BY r.message_id, r.user_id, r.emoji
    FOR UPDATE OF r
), deleted AS (
    DELETE FROM chat_reactions r USING target t
    WHERE (r.message_id, r.user_id, r.emoji) = (t.message_id, t.user_id, t.emoji)
    RETURNING t.n, r.emoji
), event AS (
    -- Rows from before one emoji had one spelling may be several.
    INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
    SELECT DISTINCT ON (gated.n) gated.event_id, 'CHAT_REACTION_REMOVED', 'chat-service', gated.trip_id, gated.caller,
           'trip', gated.now,
           jsonb_build_object('messageId', gated.id, 'tripId', gated.trip_id, 'reaction', deleted.emoji,
                              'user', person_json(u))
    FROM deleted JOIN gated ON gated.n = deleted.n JOIN user_profiles u ON u.id = gated.caller
    ORDER BY gated.n, deleted.emoji
)
SELECT verdict FROM gated ORDER BY n

-- name: reactions
WITH gate AS MATERIALIZED (
    SELECT * FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int)
), target AS MATERIALIZED (
    SELECT m.id FROM gate
    JOIN chat_messages m ON m.id = :id::uuid AND m.trip_id = gate.trip_id AND m.deleted_at IS NULL
    WHERE gate.verdict = 'ok'
)
SELECT CASE WHEN gate.verdict = 'ok' AND target.id IS NULL THEN 'message_not_found' ELSE gate.verdict END
AS verdict,
       r.user_id, r.emoji, r.created_at
FROM gate LEFT JOIN target ON true LEFT JOIN chat_reactions r ON r.message_id = target.id
ORDER BY r.created_at, r.user_id, r.emoji

-- name: read
-- Any number of receipts at once, one per user and trip, one verdict each. They are locked in this order.
WITH input AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(:receipts::jsonb) AS r (
        n int, id uuid, trip_id uuid, caller uuid, min_rank int, event_id uuid, now timestamptz)
), checked AS MATERIALIZED (
    SELECT input.*, m.seq,
           CASE WHEN gate.verdict = 'ok' AND m.id IS NULL THEN 'message_not_found' ELSE gate.verdict END AS verdict
    FROM input
    CROSS JOIN LATERAL trip_gate(input.trip_id, input.caller, input.min_rank) gate
    LEFT JOIN chat_messages m ON gate.verdict = 'ok' AND m.id = input.id AND m.trip_id = input.trip_id
), updated AS (
    INSERT INTO chat_receipts AS r (trip_id, user_id, message_id, seq, read_at)
    SELECT trip_id, caller, id, seq, now FROM checked WHERE verdict = 'ok' ORDER BY trip_id, caller
    ON CONFLICT (trip_id, user_id) DO UPDATE
    SET message_id = excluded.message_id, seq = excluded.seq, read_at = excluded.read_at
    WHERE r.seq < excluded.seq
    RETURNING r.trip_id, r.user_id
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
    SELECT c.event_id, 'CHAT_READ_RECEIPT', 'chat-service', c.trip_id, c.caller, 'trip', c.now,
           jsonb_strip_nulls(jsonb_build_object(
               'messageId', c.id, 'tripId', c.trip_id, 'userId', u.id, 'userName', display_name(u),
               'userAvatar', nullif(u.avatar_url, ''), 'timestamp', utc_text(c.now), 'user', person_json(u)))
    FROM updated
    JOIN checked c ON c.verdict = 'ok' AND c.trip_id = updated.trip_id AND c.caller = updated.user_id
    JOIN user_profiles u ON u.id = c.caller
    ORDER BY c.n
)
SELECT verdict FROM checked ORDER BY n

-- name: receipts
SELECT gate.verdict, r.message_id, r.read_at, u.id AS sender_id, display_name(u) AS sender_name, u.avatar_url
FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int) gate
LEFT JOIN (
    chat_receipts r
    JOIN trip_memberships m ON m.trip_id = r.trip_id AND m.user_id = r.user_id AND m.status = 'ACTIVE'
    JOIN user_profiles u ON u.id = r.user_id
) ON gate.verdict = 'ok' AND r.trip_id = gate.trip_id
ORDER BY r.read_at DESC, r.user_id

-- name: readers
SELECT r.user_id FROM chat_messages m JOIN chat_receipts r ON r.trip_id = m.trip_id AND r.seq >= m.seq
WHERE m.id = :id::uuid AND m.trip_id = :trip_id::uuid
