-- name: suggest
-- The place's own name counts as a hundred times the population, a name that is the whole query as ten times; 50, 500 and
-- 5,000 km cost about a factor of 2, 10 and 100.
WITH found AS (
    SELECT place_id, bool_or(is_main) AS is_main, bool_or(key = :key::text) AS is_whole,
           min(population) AS population,
           CASE WHEN :latitude::float8 IS NOT NULL
                THEN min(distance_km(latitude, longitude, :latitude::float8, :longitude::float8)) END AS distance_km
    FROM gazetteer_names WHERE key >= :key::text AND key < :key_end::text
    GROUP BY place_id
), best AS (
    SELECT place_id, distance_km,
           log(population + 1000.0::float8) + 2 * is_main::int + is_whole::int
               - log(1 + coalesce(distance_km, 0) / 50) AS score
    FROM found ORDER BY score DESC, place_id LIMIT :limit::int
)
SELECT p.id, p.name, p.address, p.country_code, p.latitude, p.longitude, p.timezone, best.distance_km
FROM gazetteer_version v
LEFT JOIN best ON true
LEFT JOIN gazetteer_places p ON p.id = best.place_id
ORDER BY best.score DESC, best.place_id

-- name: reverse
SELECT p.id, p.name, p.address, p.country_code, p.latitude, p.longitude, p.timezone, p.distance_km
FROM gazetteer_version v
LEFT JOIN LATERAL (
    SELECT near.*, distance_km(near.latitude, near.longitude, :latitude::float8, :longitude::float8) AS distance_km
    FROM gazetteer_places near
    WHERE near.latitude BETWEEN :latitude::float8 - :max_km::float8 / 111
        AND :latitude::float8 + :max_km::float8 / 111
    ORDER BY distance_km, near.id LIMIT 1
) p ON p.distance_km <= :max_km::float8

-- name: version
SELECT version FROM gazetteer_version

-- name: clear
WITH names AS (DELETE FROM gazetteer_names), places AS (DELETE FROM gazetteer_places)
DELETE FROM gazetteer_version

-- name: load
WITH loaded AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(:rows::jsonb) AS r (
        id integer, name text, address text, country_code text, latitude float8, longitude float8, timezone text,
        population integer, main_key text, keys jsonb)
), places AS (
    INSERT INTO gazetteer_places
    SELECT id, name, address, country_code, latitude, longitude, timezone, population FROM loaded
)
INSERT INTO gazetteer_names
SELECT key, id, key = main_key, population, latitude, longitude FROM loaded, jsonb_array_elements_text(keys) AS key

-- name: finish
INSERT INTO gazetteer_version (version) VALUES (:version::text)
