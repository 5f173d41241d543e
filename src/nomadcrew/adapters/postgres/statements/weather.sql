-- name: destination
SELECT gate.verdict, t.id, t.destination_latitude, t.destination_longitude, t.timezone, t.start_date, t.end_date
FROM trip_gate(:trip_id::uuid, :caller::uuid, :min_rank::int) gate
LEFT JOIN trips t ON gate.verdict = 'ok' AND t.id = gate.trip_id

-- name: of_active_trips
SELECT DISTINCT t.id, t.destination_latitude, t.destination_longitude, t.timezone, t.start_date, t.end_date
FROM jsonb_array_elements_text(:user_ids::jsonb) AS connected (id)
JOIN trip_memberships m ON m.user_id = connected.id::uuid AND m.status = 'ACTIVE'
JOIN trips t ON t.id = m.trip_id AND t.status = 'ACTIVE' AND t.deleted_at IS NULL
    AND (t.destination_latitude <> 0 OR t.destination_longitude <> 0)
WHERE :after::uuid IS NULL OR t.id > :after::uuid
ORDER BY t.id LIMIT :limit::int

-- name: claim
-- No row: another process has inserted the area since this statement began.
WITH claimed AS (
    INSERT INTO weather_cache AS c (area, claimed_until) VALUES (:area::text, :until::timestamptz)
    ON CONFLICT (area) DO UPDATE SET claimed_until = excluded.claimed_until
    WHERE c.claimed_until <= :now::timestamptz
        AND (c.fetched_at IS NULL OR c.fetched_at <= :stale_at::timestamptz)
    RETURNING body
)
SELECT true AS mine, false AS waiting, body FROM claimed
UNION ALL
SELECT false, claimed_until > :now::timestamptz, body FROM weather_cache
WHERE area = :area::text AND NOT EXISTS (SELECT FROM claimed)

-- name: get
SELECT claimed_until > :now::timestamptz AS waiting, body FROM weather_cache WHERE area = :area::text

-- name: store
INSERT INTO weather_cache AS c (area, claimed_until, fetched_at, body)
VALUES (:area::text, :fetched_at::timestamptz, :fetched_at::timestamptz, :body::text)
ON CONFLICT (area) DO UPDATE
SET claimed_until = excluded.claimed_until, fetched_at = excluded.fetched_at, body = excluded.body
WHERE c.fetched_at IS NULL OR c.fetched_at <= excluded.fetched_at

-- name: postpone
UPDATE weather_cache SET claimed_until = :until::timestamptz WHERE area = :area::text

-- name: purge
DELETE FROM weather_cache WHERE area IN (
    SELECT area FROM weather_cache WHERE claimed_until < :before::timestamptz LIMIT :limit::int
) RETURNING area
