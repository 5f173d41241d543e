-- Towns of GeoNames (CC BY 4.0) with their names in all languages, loaded by the machine host. Names repeat what their
-- order needs, so that the suggestions for two letters read one index and few towns.

CREATE TABLE gazetteer_places (
    id           integer PRIMARY KEY,
    name         text NOT NULL,
    address      text NOT NULL,
    country_code text NOT NULL,
    latitude     float8 NOT NULL,
    longitude    float8 NOT NULL,
    timezone     text NOT NULL,
    population   integer NOT NULL
);
-- split
CREATE INDEX gazetteer_places_by_latitude ON gazetteer_places (latitude);
-- split
CREATE TABLE gazetteer_names (
    key        text COLLATE "C" NOT NULL,
    place_id   integer NOT NULL,
    is_main    boolean NOT NULL,
    population integer NOT NULL,
    latitude   float8 NOT NULL,
    longitude  float8 NOT NULL,
    PRIMARY KEY (key, place_id) INCLUDE (is_main, population, latitude, longitude)
);
-- split
-- One row: the version of the data.
CREATE TABLE gazetteer_version (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version  text NOT NULL
);
-- split
-- Kilometres along a great circle of the mean radius of the earth.
CREATE FUNCTION distance_km(latitude float8, longitude float8, other_latitude float8, other_longitude float8)
RETURNS float8 LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT 12742 * asin(least(1, sqrt(
        sind((other_latitude - latitude) / 2) ^ 2
        + cosd(latitude) * cosd(other_latitude) * sind((other_longitude - longitude) / 2) ^ 2)))
$$;
