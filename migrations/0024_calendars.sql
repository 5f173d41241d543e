-- Calendars of trips for calendar programs. A key of the site makes their links, so no secret is stored here.
CREATE TABLE calendars (
    id         uuid PRIMARY KEY,
    user_id    uuid NOT NULL REFERENCES user_profiles (id) ON DELETE CASCADE,
    -- Without a trip, the calendar has all trips of its user.
    trip_id    uuid REFERENCES trips (id) ON DELETE CASCADE,
    has_trips  boolean NOT NULL,
    has_todos  boolean NOT NULL,
    created_at timestamptz NOT NULL,
    CHECK (has_trips OR has_todos)
);
-- split
CREATE INDEX calendars_user ON calendars (user_id, created_at DESC, id DESC);
-- split
-- Creating a calendar again returns it.
CREATE UNIQUE INDEX calendars_same ON calendars (
    user_id, coalesce(trip_id, '00000000-0000-0000-0000-000000000000'), has_trips, has_todos);
-- split
CREATE INDEX calendars_trip ON calendars (trip_id) WHERE trip_id IS NOT NULL;
-- split
CREATE INDEX todos_planned ON todos (trip_id, due_at) WHERE due_at IS NOT NULL AND deleted_at IS NULL;
-- split

-- The calendars of a user; until the commit, no other one is added.
CREATE FUNCTION locked_calendar_count(person uuid) RETURNS integer LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM FROM user_profiles p WHERE p.id = person FOR NO KEY UPDATE;
    RETURN (SELECT count(*) FROM calendars c WHERE c.user_id = person);
END
$$;
