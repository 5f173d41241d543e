-- name: of
SELECT gate.verdict, m.id, m.trip_id, m.user_id, m.role, m.status, m.created_at, m.updated_at,
       p.email, p.username, p.first_name, p.last_name, p.avatar_url
FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int) gate
LEFT JOIN trip_memberships m ON gate.verdict = 'ok' AND m.trip_id = gate.trip_id AND m.status = 'ACTIVE'
LEFT JOIN user_profiles p ON p.id = m.user_id
ORDER BY m.created_at, m.id

-- name: add
WITH gate AS MATERIALIZED (
    SELECT * FROM locked_trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int)
), trip AS MATERIALIZED (
    SELECT locked.* FROM gate CROSS JOIN LATERAL locked_join(gate.trip_id, :user_id::uuid) locked
    WHERE gate.verdict = 'ok'
), current AS (
    SELECT (trip.membership).* FROM trip WHERE (trip.membership).id IS NOT NULL
), checked AS (
    SELECT CASE WHEN gate.verdict <> 'ok' THEN gate.verdict
                WHEN p.id IS NULL THEN 'user_not_found'
                WHEN current.status = 'ACTIVE' THEN 'unchanged'
                WHEN NOT shared_a_trip(:caller::uuid, :user_id::uuid) OR current.left_by_choice
                     OR EXISTS (SELECT FROM trip_invitations i
                                WHERE i.trip_id = trip.trip_id AND i.invitee_id = :user_id::uuid AND i.is_refused)
                    THEN 'needs_consent'
                WHEN trip.member_count >= :max_members::int THEN 'trip_full'
                WHEN trip.trips >= :max_trips::int THEN 'too_many_trips'
                ELSE 'ok' END AS verdict
    FROM gate LEFT JOIN trip ON true LEFT JOIN current ON true
    LEFT JOIN user_profiles p ON p.id = :user_id::uuid AND p.imported_with IS NULL
), membership AS (
    INSERT INTO trip_memberships AS m (id, trip_id, user_id, role, status, created_at, updated_at, joined_at)
    SELECT :membership_id::uuid, trip.trip_id, :user_id::uuid, :role::text, 'ACTIVE', :now::timestamptz,
           :now::timestamptz, :now::timestamptz
    FROM checked, trip WHERE checked.verdict = 'ok'
    ON CONFLICT (trip_id, user_id) DO UPDATE
    SET role = excluded.role, status = 'ACTIVE', left_by_choice = false, updated_at = excluded.updated_at,
        joined_at = excluded.joined_at
    RETURNING m.*
), updated_trip AS (
    UPDATE trips t SET member_count = t.member_count + 1 FROM membership WHERE t.id = membership.trip_id
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
    SELECT :event_id::uuid, 'MEMBER_ADDED', 'member-service', trip_id, user_id, 'trip', updated_at,
           jsonb_build_object('userId', user_id, 'role', role_word(role), 'addedBy', :caller::uuid)
    FROM membership
), latest AS (
    SELECT * FROM membership UNION ALL SELECT * FROM current WHERE NOT EXISTS (SELECT FROM membership)
)
SELECT checked.verdict, m.id, m.trip_id, m.user_id, m.role, m.status, m.created_at, m.updated_at
FROM checked LEFT JOIN latest m ON true

-- name: remove
WITH gate AS MATERIALIZED (
    SELECT * FROM locked_trip_gate(:trip_id::uuid, :caller::uuid, 1)
), target AS (
    SELECT m.* FROM gate
    JOIN trip_memberships m ON m.trip_id = gate.trip_id AND m.user_id = :user_id::uuid AND m.status = 'ACTIVE'
    WHERE gate.verdict = 'ok' FOR UPDATE OF m
), checked AS (
    SELECT CASE WHEN gate.verdict <> 'ok' THEN gate.verdict
                WHEN gate.rank < :min_rank::int THEN 'insufficient_permissions'
                WHEN target.id IS NULL THEN 'member_not_found'
                WHEN :user_id::uuid <> :caller::uuid AND gate.rank < 3 AND role_rank(target.role) >= gate.rank
                    THEN 'insufficient_permissions'
                WHEN target.role = 'OWNER' AND owners_now(gate.trip_id) < 2 THEN 'last_owner'
                ELSE 'ok' END AS verdict
    FROM gate LEFT JOIN target ON true
), removed AS (
    UPDATE trip_memberships m
    SET status = 'INACTIVE', left_by_choice = :user_id::uuid = :caller::uuid, updated_at = :now::timestamptz
    FROM checked, target WHERE checked.verdict = 'ok' AND m.id = target.id
    RETURNING m.trip_id, m.user_id
), updated_trip AS (
    UPDATE trips t SET member_count = t.member_count - 1 FROM removed WHERE t.id = removed.trip_id
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, recipient_id, audience, occurred_at, payload)
    SELECT :event_id::uuid, 'MEMBER_REMOVED', 'member-service', trip_id, user_id, user_id, 'trip',
           :now::timestamptz, jsonb_build_object('userId', user_id, 'removedBy', :caller::uuid)
    FROM removed
)
SELECT verdict FROM checked

-- name: change_role
WITH gate AS MATERIALIZED (
    SELECT * FROM locked_trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int)
), locked AS (
    SELECT m.* FROM gate
    JOIN trip_memberships m ON m.trip_id = gate.trip_id AND m.status = 'ACTIVE'
        AND m.user_id IN (:user_id::uuid, :caller::uuid)
    WHERE gate.verdict = 'ok' FOR UPDATE OF m
), target AS (
    SELECT * FROM locked WHERE user_id = :user_id::uuid
), checked AS (
    SELECT CASE WHEN gate.verdict <> 'ok' THEN gate.verdict
                WHEN target.id IS NULL THEN 'member_not_found'
                WHEN target.role = :role::text THEN 'unchanged'
                WHEN target.role = 'OWNER' OR :role::text = 'OWNER' AND gate.rank < 3 THEN 'owner_immutable'
                ELSE 'ok' END AS verdict
    FROM gate LEFT JOIN target ON true
), updated AS (
    UPDATE trip_memberships m
    SET role = CASE WHEN m.user_id = :user_id::uuid THEN :role::text ELSE 'ADMIN' END,
        updated_at = :now::timestamptz
    FROM checked, locked
    WHERE checked.verdict = 'ok' AND m.id = locked.id
        AND (m.user_id = :user_id::uuid OR :role::text = 'OWNER')
    RETURNING m.*, locked.role AS old_role
), updated_trip AS (
    -- The app takes the creator of a trip for its owner.
    UPDATE trips t SET created_by = updated.user_id FROM updated WHERE t.id = updated.trip_id AND updated.role = 'OWNER'
), event AS (
    INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload)
    SELECT CASE WHEN user_id = :user_id::uuid THEN :event_id::uuid ELSE :own_event_id::uuid END,
           'MEMBER_ROLE_UPDATED', 'member-service', trip_id, user_id, 'trip', updated_at,
           jsonb_build_object('userId', user_id, 'role', role_word(role), 'previousRole', role_word(old_role),
                              'old_role', old_role, 'new_role', role, 'changedBy', :caller::uuid)
    FROM updated
)
SELECT checked.verdict, target.id, target.trip_id, target.user_id,
       coalesce(updated.role, target.role) AS role, target.status, target.created_at,
       coalesce(updated.updated_at, target.updated_at) AS updated_at
FROM checked LEFT JOIN target ON true LEFT JOIN updated ON updated.user_id = target.user_id

-- name: active
SELECT m.trip_id FROM trip_memberships m JOIN trips t ON t.id = m.trip_id AND t.deleted_at IS NULL
WHERE m.user_id = :user_id::uuid AND m.status = 'ACTIVE'
ORDER BY t.start_date DESC, t.id DESC LIMIT :max_trips::int

-- name: is_active
SELECT verdict = 'ok' AS active FROM trip_gate(:trip_id::uuid, :user_id::uuid, 1)
