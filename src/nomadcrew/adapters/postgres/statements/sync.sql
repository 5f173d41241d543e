-- name: page
-- A change counts if its transaction is visible in the snapshot `target` and not in `base`. The first page of a run has
-- its own snapshot as target. Each trip of the caller, and the caller, is one probe of the index.
WITH point AS MATERIALIZED (
    SELECT id AS epoch, pg_current_snapshot() AS here, (:base::text)::pg_snapshot AS base,
           coalesce((:target::text)::pg_snapshot, pg_current_snapshot()) AS target
    FROM sync_epoch
), checked AS MATERIALIZED (
    SELECT point.*,
           CASE WHEN u.id IS NULL THEN 'user_not_onboarded'
                WHEN :epoch::uuid <> epoch OR pg_snapshot_xmax(coalesce(base, target)) > pg_snapshot_xmax(here)
                    OR pg_snapshot_xmax(target) > pg_snapshot_xmax(here) THEN 'cursor_expired'
                ELSE 'ok' END AS verdict
    FROM point LEFT JOIN user_profiles u ON u.id = :caller::uuid
), scope AS MATERIALIZED (
    -- A trip that the caller came to after `target` is left for the next run.
    SELECT m.trip_id AS id, m.trip_id, role_rank(m.role) >= :invitation_rank::int AS sees_invitations,
           base IS NULL OR NOT pg_visible_in_snapshot(access.written, base) AS is_new,
           NOT pg_visible_in_snapshot(rank.written, base) AS has_new_rank
    FROM checked
    JOIN trip_memberships m ON m.user_id = :caller::uuid AND m.status = 'ACTIVE'
    JOIN trips t ON t.id = m.trip_id AND t.deleted_at IS NULL
    JOIN sync_changes access ON access.scope_id = :caller::uuid AND access.kind = 'access' AND access.entity_id = t.id
    LEFT JOIN sync_changes rank ON rank.scope_id = :caller::uuid AND rank.kind = 'rank' AND rank.entity_id = t.id
    WHERE verdict = 'ok' AND pg_visible_in_snapshot(access.written, target)
        AND (:trips::jsonb IS NULL OR :trips::jsonb ? m.trip_id::text)
    UNION ALL
    SELECT :caller::uuid, NULL, false, base IS NULL, false FROM checked WHERE verdict = 'ok'
), candidate AS MATERIALIZED (
    SELECT c.*, scope.trip_id, false AS is_lost
    FROM checked CROSS JOIN scope CROSS JOIN LATERAL (
        SELECT * FROM sync_changes
        WHERE scope_id = scope.id
            AND written >= CASE WHEN scope.is_new THEN '0'::xid8 ELSE pg_snapshot_xmin(base) END
            AND (written, kind, entity_id) >= ((:last_written::text)::xid8, :last_kind::text, :last_id::uuid)
            AND (written, kind, entity_id, scope_id)
                > ((:last_written::text)::xid8, :last_kind::text, :last_id::uuid, :last_scope::uuid)
            AND pg_visible_in_snapshot(written, target)
            AND (scope.is_new OR NOT pg_visible_in_snapshot(written, base))
            -- A new copy has nothing to delete.
            AND (deleted_at IS NULL OR base IS NOT NULL)
            AND kind NOT IN ('chat', 'rank') AND (kind <> 'access' OR deleted_at IS NOT NULL)
            AND (kind <> 'invitation' OR scope.sees_invitations)
            AND (scope.trip_id IS NOT NULL OR :trips::jsonb IS NULL
                 OR kind NOT IN ('access', 'sharing', 'tripPreferences') OR :trips::jsonb ? entity_id::text)
        ORDER BY written, kind, entity_id LIMIT :limit::int + 1
    ) c
    UNION ALL
    -- Another role shows all invitations, or none.
    SELECT c.*, scope.trip_id, NOT scope.sees_invitations
    FROM checked CROSS JOIN scope JOIN sync_changes c ON c.scope_id = scope.id AND c.kind = 'invitation'
    WHERE scope.has_new_rank AND NOT scope.is_new
        AND (NOT scope.sees_invitations OR pg_visible_in_snapshot(c.written, base))
        AND (c.written, c.kind, c.entity_id, c.scope_id)
            > ((:last_written::text)::xid8, :last_kind::text, :last_id::uuid, :last_scope::uuid)
), page AS MATERIALIZED (
    SELECT *, row_number() OVER (ORDER BY written, kind, entity_id, scope_id) AS place
    FROM candidate ORDER BY place LIMIT :limit::int + 1
), entity AS (
    SELECT page.*, CASE WHEN deleted_at IS NULL AND NOT is_lost THEN (CASE kind
        WHEN 'trip' THEN (SELECT body FROM trip_cards WHERE trip_cards.trip_id = entity_id)
        WHEN 'member' THEN (
            SELECT member_record(m, p)::text FROM trip_memberships m JOIN user_profiles p ON p.id = m.user_id
            WHERE m.id = entity_id AND m.status = 'ACTIVE')
        WHEN 'invitation' THEN (SELECT invitation_record(i)::text FROM trip_invitations i WHERE i.id = entity_id)
        WHEN 'todo' THEN (SELECT todo_record(t)::text FROM todos t WHERE t.id = entity_id AND t.deleted_at IS NULL)
        WHEN 'message' THEN CASE WHEN :has_chat::boolean THEN (
            SELECT json_build_object('message', message_record(m, :caller::uuid), 'reactions', reaction_records(m))::text
            FROM chat_messages m WHERE m.id = entity_id) ELSE '' END
        WHEN 'receipt' THEN CASE WHEN :has_chat::boolean THEN (
            SELECT receipt_record(r, u)::text
            FROM chat_receipts r JOIN user_profiles u ON u.id = r.user_id
            WHERE r.trip_id = scope_id AND r.user_id = entity_id AND is_active_member(r.trip_id, r.user_id))
            ELSE '' END
        WHEN 'poll' THEN (SELECT poll_record(p)::text FROM polls p WHERE p.id = entity_id AND p.deleted_at IS NULL)
        WHEN 'document' THEN (
            SELECT document_record(d)::text FROM documents d
            WHERE d.id = entity_id AND d.deleted_at IS NULL AND d.stored_at IS NOT NULL)
        WHEN 'photo' THEN (
            SELECT picture_record(p)::text FROM pictures p
            WHERE p.id = entity_id AND p.deleted_at IS NULL AND p.stored_at IS NOT NULL)
        WHEN 'notification' THEN (SELECT notification_record(n)::text FROM notifications n WHERE n.id = entity_id)
        WHEN 'sharing' THEN (
            SELECT sharing_record(s, t)::text FROM location_sharing s JOIN trips t ON t.id = s.trip_id
            WHERE s.trip_id = entity_id AND s.user_id = scope_id)
        WHEN 'tripPreferences' THEN (
            SELECT json_build_object('muted_until', p.muted_until, 'chat', p.chat)::text
            FROM trip_notification_preferences p WHERE p.trip_id = entity_id AND p.user_id = scope_id)
        WHEN 'profile' THEN (SELECT profile_record(p)::text FROM user_profiles p WHERE p.id = entity_id)
        WHEN 'preferences' THEN (SELECT p.preferences::text FROM user_profiles p WHERE p.id = entity_id)
        END) END AS body
    FROM page WHERE place <= :limit::int
), sized AS MATERIALIZED (
    SELECT *, sum(coalesce(octet_length(body), 0) + 200) OVER (ORDER BY place) AS bytes FROM entity
)
SELECT verdict, checked.epoch, target::text AS target, (SELECT count(*) FROM page) AS found,
       -- Chats of another store whose messages from before this table are not noted yet.
       (SELECT jsonb_agg(id) FROM scope WHERE NOT :has_chat::boolean AND trip_id IS NOT NULL AND NOT EXISTS (
           SELECT FROM sync_changes c WHERE c.scope_id = scope.id AND c.kind = 'chat'))::text AS unnoted,
       place, kind, entity_id,
       scope_id, trip_id, written::text AS written, parts.part
FROM checked
LEFT JOIN sized ON bytes <= :max_bytes::int OR place = 1
LEFT JOIN LATERAL card_parts(body) parts ON body IS NOT NULL
ORDER BY place, parts.n

-- name: point
-- The cursor of a client that has all.
SELECT id AS epoch, pg_current_snapshot()::text AS target FROM sync_epoch

-- name: senders
SELECT m.trip_id, p.id AS user_id, display_name(p) AS name, p.avatar_url
FROM trip_memberships m JOIN user_profiles p ON p.id = m.user_id
WHERE m.status = 'ACTIVE' AND m.trip_id IN (SELECT value::uuid FROM jsonb_array_elements_text(:trips::jsonb))

-- name: note_messages
INSERT INTO sync_changes (scope_id, kind, entity_id, written)
SELECT :trip_id::uuid, 'message', value::uuid, pg_current_xact_id()
FROM jsonb_array_elements_text(:ids::jsonb) ORDER BY value
ON CONFLICT (scope_id, kind, entity_id) DO UPDATE SET written = excluded.written

-- name: note_chat
-- Messages and receipts that were noted meanwhile keep their place.
INSERT INTO sync_changes (scope_id, kind, entity_id, written)
SELECT :trip_id::uuid, kind, id, pg_current_xact_id() FROM (
    SELECT 'chat' AS kind, :trip_id::uuid AS id
    UNION ALL SELECT 'message', value::uuid FROM jsonb_array_elements_text(:messages::jsonb)
    UNION ALL SELECT 'receipt', value::uuid FROM jsonb_array_elements_text(:readers::jsonb)
) AS noted
ORDER BY kind, id
ON CONFLICT (scope_id, kind, entity_id) DO NOTHING

-- name: purge
DELETE FROM sync_changes WHERE (scope_id, kind, entity_id) IN (
    SELECT scope_id, kind, entity_id FROM sync_changes WHERE deleted_at < :before::timestamptz
    ORDER BY deleted_at LIMIT :limit::int)
RETURNING 1 AS deleted
