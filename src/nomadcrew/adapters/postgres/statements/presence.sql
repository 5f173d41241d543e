-- name: list_for_trip
SELECT gate.verdict, m.user_id, ghost_mode(p.preferences) AS ghost, s.seen_at
FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int) gate
LEFT JOIN trip_memberships m ON gate.verdict = 'ok' AND m.trip_id = gate.trip_id AND m.status = 'ACTIVE'
LEFT JOIN user_profiles p ON p.id = m.user_id
LEFT JOIN last_seen s ON s.user_id = m.user_id
ORDER BY m.created_at, m.id

-- name: typist
SELECT gate.verdict, ghost_mode(p.preferences) AS ghost, display_name(p) AS name, p.avatar_url
FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int) gate LEFT JOIN user_profiles p ON p.id = :caller::uuid

-- name: shown
SELECT m.trip_id, m.user_id, s.seen_at
FROM jsonb_array_elements_text(:user_ids::jsonb) AS requested (id)
JOIN user_profiles p ON p.id = requested.id::uuid AND NOT ghost_mode(p.preferences)
JOIN trip_memberships m ON m.user_id = p.id AND m.status = 'ACTIVE'
JOIN trips t ON t.id = m.trip_id AND t.deleted_at IS NULL AND t.member_count > 1
LEFT JOIN last_seen s ON s.user_id = p.id
ORDER BY m.user_id, m.trip_id

-- name: keep
INSERT INTO last_seen AS stored (user_id, seen_at)
SELECT p.id, seen.seen_at
FROM jsonb_to_recordset(:seen::jsonb) AS seen (user_id uuid, seen_at timestamptz)
JOIN user_profiles p ON p.id = seen.user_id AND NOT ghost_mode(p.preferences)
ON CONFLICT (user_id) DO UPDATE SET seen_at = excluded.seen_at WHERE stored.seen_at < excluded.seen_at

-- name: visible
SELECT id FROM user_profiles
WHERE id = :user_id::uuid AND NOT ghost_mode(preferences)
