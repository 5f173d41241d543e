-- The last answer of the weather service for each area, shared by all processes. The process that claims an area asks the
-- service; all others wait for its answer.

CREATE TABLE weather_cache (
    area          text PRIMARY KEY,
    claimed_until timestamptz NOT NULL,
    fetched_at    timestamptz,
    body          text,
    CHECK ((fetched_at IS NULL) = (body IS NULL))
) WITH (fillfactor = 70);
-- split
CREATE INDEX weather_cache_by_claim ON weather_cache (claimed_until);
