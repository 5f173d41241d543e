-- name: trip
-- A row per user: the members with their roles, and the creator.
SELECT t.id, t.name, t.created_by, t.start_date, t.end_date, t.destination_latitude, t.destination_longitude,
       p.id AS user_id, p.email, p.username, m.role
FROM trips t
LEFT JOIN (
    SELECT trip_id, user_id, role FROM trip_memberships WHERE trip_id = :trip_id::uuid AND status = 'ACTIVE'
) m ON true
LEFT JOIN user_profiles p ON p.id = m.user_id
WHERE t.id = :trip_id::uuid AND t.deleted_at IS NULL
UNION ALL
SELECT t.id, t.name, t.created_by, t.start_date, t.end_date, t.destination_latitude, t.destination_longitude,
       p.id, p.email, p.username, NULL
FROM trips t JOIN user_profiles p ON p.id = t.created_by
WHERE t.id = :trip_id::uuid AND t.deleted_at IS NULL
    AND NOT EXISTS (SELECT FROM trip_memberships m
                    WHERE m.trip_id = t.id AND m.user_id = t.created_by AND m.status = 'ACTIVE')
ORDER BY user_id

-- name: user
SELECT id, email, username FROM user_profiles WHERE id = :id::uuid
