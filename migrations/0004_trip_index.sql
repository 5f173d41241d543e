-- What jobs that go through trips by status read: a row per trip that is not deleted, in a partition per status, so
-- that finished trips cost the hot ones nothing. The foreign key moves a row when its trip's status changes, and takes
-- it along when the trip goes; triggers do the rest, since whoever writes a trip should not have to think of it. They
-- are silent on the update that every joining and leaving makes.

CREATE TABLE trip_index (
    trip_id    uuid NOT NULL,
    status     text NOT NULL,
    start_date date NOT NULL,
    end_date   date NOT NULL,
    latitude   double precision NOT NULL,
    longitude  double precision NOT NULL,
    PRIMARY KEY (trip_id, status),
    FOREIGN KEY (trip_id, status) REFERENCES trips (id, status) ON UPDATE CASCADE ON DELETE CASCADE
) PARTITION BY LIST (status);
-- split
CREATE TABLE trip_index_planning PARTITION OF trip_index FOR VALUES IN ('PLANNING');
-- split
CREATE TABLE trip_index_active PARTITION OF trip_index FOR VALUES IN ('ACTIVE');
-- split
CREATE TABLE trip_index_completed PARTITION OF trip_index FOR VALUES IN ('COMPLETED');
-- split
CREATE TABLE trip_index_cancelled PARTITION OF trip_index FOR VALUES IN ('CANCELLED');
-- split
CREATE TABLE trip_index_other PARTITION OF trip_index DEFAULT;
-- split
CREATE INDEX trip_index_end ON trip_index (end_date);
-- split
INSERT INTO trip_index
SELECT id, status, start_date, end_date, destination_latitude, destination_longitude FROM trips
WHERE deleted_at IS NULL;
-- split

CREATE FUNCTION index_trip() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO trip_index
        VALUES (NEW.id, NEW.status, NEW.start_date, NEW.end_date, NEW.destination_latitude,
                NEW.destination_longitude);
    ELSIF NEW.deleted_at IS NOT NULL THEN
        DELETE FROM trip_index WHERE trip_id = NEW.id;
    ELSE
        UPDATE trip_index
        SET start_date = NEW.start_date, end_date = NEW.end_date, latitude = NEW.destination_latitude,
            longitude = NEW.destination_longitude
        WHERE trip_id = NEW.id;
    END IF;
    RETURN NULL;
END
$$;
-- split
CREATE TRIGGER trips_made AFTER INSERT ON trips FOR EACH ROW
WHEN (NEW.deleted_at IS NULL) EXECUTE FUNCTION index_trip();
-- split
CREATE TRIGGER trips_changed
AFTER UPDATE OF start_date, end_date, destination_latitude, destination_longitude, deleted_at ON trips FOR EACH ROW
WHEN ((OLD.start_date, OLD.end_date, OLD.destination_latitude, OLD.destination_longitude, OLD.deleted_at)
      IS DISTINCT FROM
      (NEW.start_date, NEW.end_date, NEW.destination_latitude, NEW.destination_longitude, NEW.deleted_at))
EXECUTE FUNCTION index_trip();
