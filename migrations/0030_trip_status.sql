-- For the scheduled job that advances the status of trips.
CREATE INDEX trips_open ON trips (id) WHERE status IN ('PLANNING', 'ACTIVE') AND deleted_at IS NULL;
