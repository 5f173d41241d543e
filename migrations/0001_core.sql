-- People, trips, members, invitations, to-dos, notifications; the outbox, the work queue and replay protection.
-- Times are timestamptz in UTC, given by the application, so that one request has one time.

CREATE EXTENSION IF NOT EXISTS pg_trgm;
-- split

CREATE TABLE user_profiles (
    id                          uuid PRIMARY KEY,
    email                       text NOT NULL CHECK (length(email) <= 255),
    username                    text NOT NULL CHECK (length(username) BETWEEN 1 AND 255),
    first_name                  text NOT NULL DEFAULT '',
    last_name                   text NOT NULL DEFAULT '',
    avatar_url                  text NOT NULL DEFAULT '',
    contact_email               text,
    location_privacy_preference text CHECK (location_privacy_preference IN ('hidden', 'approximate', 'precise')),
    preferences                 jsonb NOT NULL DEFAULT '{}',
    created_at                  timestamptz NOT NULL,
    updated_at                  timestamptz NOT NULL,
    search                      text NOT NULL GENERATED ALWAYS AS (
        lower(' ' || username || ' ' || email || ' ' || coalesce(contact_email, '') || ' ' || first_name || ' ' || last_name)
    ) STORED
);
-- split
CREATE UNIQUE INDEX user_profiles_email ON user_profiles (lower(email));
-- split
CREATE UNIQUE INDEX user_profiles_username ON user_profiles (lower(username));
-- split
CREATE INDEX user_profiles_contact_email ON user_profiles (lower(contact_email));
-- split
CREATE INDEX user_profiles_created ON user_profiles (created_at DESC, id DESC);
-- split
CREATE INDEX user_profiles_search ON user_profiles USING gin (search gin_trgm_ops);
-- split

CREATE TABLE trips (
    id                    uuid PRIMARY KEY,
    name                  text NOT NULL CHECK (length(name) BETWEEN 1 AND 255),
    description           text NOT NULL DEFAULT '',
    destination_place_id  text,
    destination_address   text,
    destination_name      text,
    destination_latitude  double precision NOT NULL,
    destination_longitude double precision NOT NULL,
    start_date            date NOT NULL,
    end_date              date NOT NULL,
    status                text NOT NULL CHECK (status IN ('PLANNING', 'ACTIVE', 'COMPLETED', 'CANCELLED')),
    created_by            uuid REFERENCES user_profiles (id) ON DELETE SET NULL,
    created_at            timestamptz NOT NULL,
    updated_at            timestamptz NOT NULL,
    background_image_url  text NOT NULL DEFAULT '' CHECK (length(background_image_url) <= 512),
    -- ACTIVE memberships, kept by the statements that join and leave: counting them costs a list twice its time.
    member_count          integer NOT NULL DEFAULT 0,
    deleted_at            timestamptz,
    CHECK (end_date >= start_date),
    UNIQUE (id, status)
);
-- split
CREATE INDEX trips_created_by ON trips (created_by);
-- split

CREATE TABLE trip_memberships (
    id         uuid PRIMARY KEY,
    trip_id    uuid NOT NULL REFERENCES trips (id) ON DELETE CASCADE,
    user_id    uuid NOT NULL REFERENCES user_profiles (id) ON DELETE CASCADE,
    role       text NOT NULL CHECK (role IN ('OWNER', 'ADMIN', 'MEMBER')),
    status     text NOT NULL CHECK (status IN ('ACTIVE', 'INACTIVE')),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    -- Since when without a break: what happened before is not shown to somebody who came back.
    joined_at  timestamptz NOT NULL,
    UNIQUE (trip_id, user_id)
);
-- split
CREATE INDEX trip_memberships_user ON trip_memberships (user_id, trip_id) WHERE status = 'ACTIVE';
-- split
CREATE INDEX trip_memberships_trip ON trip_memberships (trip_id, created_at, id) WHERE status = 'ACTIVE';
-- split

CREATE TABLE trip_invitations (
    id            uuid PRIMARY KEY,
    trip_id       uuid NOT NULL REFERENCES trips (id) ON DELETE CASCADE,
    inviter_id    uuid REFERENCES user_profiles (id) ON DELETE SET NULL,
    invitee_id    uuid REFERENCES user_profiles (id) ON DELETE CASCADE,
    invitee_email text NOT NULL,
    role          text NOT NULL CHECK (role IN ('ADMIN', 'MEMBER')),
    status        text NOT NULL CHECK (status IN ('PENDING', 'ACCEPTED', 'DECLINED')),
    expires_at    timestamptz NOT NULL,
    -- When it was mailed last, and the event that asked for it: a phone that repeats itself mails nobody twice.
    mailed_at     timestamptz NOT NULL,
    mail_event_id uuid NOT NULL,
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    CHECK (expires_at > created_at)
);
-- split
-- One open invitation per trip and address, which is also what makes a repeated invitation harmless.
CREATE UNIQUE INDEX trip_invitations_pending ON trip_invitations (trip_id, invitee_email) WHERE status = 'PENDING';
-- split
CREATE INDEX trip_invitations_trip ON trip_invitations (trip_id, created_at DESC, id DESC);
-- split
CREATE INDEX trip_invitations_inviter ON trip_invitations (inviter_id);
-- split
CREATE INDEX trip_invitations_invitee ON trip_invitations (invitee_id);
-- split

CREATE TABLE todos (
    id         uuid PRIMARY KEY,
    trip_id    uuid NOT NULL REFERENCES trips (id) ON DELETE CASCADE,
    text       text NOT NULL CHECK (length(text) BETWEEN 1 AND 255),
    status     text NOT NULL CHECK (status IN ('COMPLETE', 'INCOMPLETE')),
    created_by uuid NOT NULL REFERENCES user_profiles (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz
);
-- split
CREATE INDEX todos_trip ON todos (trip_id, created_at DESC, id DESC) WHERE deleted_at IS NULL;
-- split
CREATE INDEX todos_created_by ON todos (created_by);
-- split

CREATE TABLE notifications (
    id         uuid PRIMARY KEY,
    user_id    uuid NOT NULL REFERENCES user_profiles (id) ON DELETE CASCADE,
    type       text NOT NULL,
    metadata   jsonb NOT NULL,
    is_read    boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
-- split
CREATE INDEX notifications_user ON notifications (user_id, created_at DESC, id DESC);
-- split
CREATE INDEX notifications_unread ON notifications (user_id, created_at DESC, id DESC) WHERE NOT is_read;
-- split
CREATE INDEX notifications_age ON notifications (created_at);
-- split

-- Events, inserted by the statement whose write they report. `position` is given when one is published, by one
-- publisher at a time, so that it follows the order in which events become visible; ids do not.
CREATE TABLE outbox (
    id           uuid PRIMARY KEY,
    type         text NOT NULL,
    source       text NOT NULL,
    trip_id      uuid,
    actor_id     uuid,
    recipient_id uuid,
    audience     text NOT NULL CHECK (audience IN ('trip', 'user', 'internal')),
    occurred_at  timestamptz NOT NULL,
    payload      jsonb NOT NULL,
    entered      bigint GENERATED ALWAYS AS IDENTITY,
    position     bigint
);
-- split
CREATE SEQUENCE outbox_position;
-- split
CREATE INDEX outbox_pending ON outbox (entered) WHERE position IS NULL;
-- split
CREATE INDEX outbox_trip ON outbox (trip_id, position) WHERE position IS NOT NULL AND audience = 'trip';
-- split
CREATE INDEX outbox_recipient ON outbox (recipient_id, position) WHERE position IS NOT NULL;
-- split
CREATE INDEX outbox_age ON outbox (occurred_at);
-- split

CREATE TABLE queue_jobs (
    id          uuid PRIMARY KEY,
    queue       text NOT NULL,
    body        text NOT NULL,
    attempts    integer NOT NULL DEFAULT 0,
    enqueued_at timestamptz NOT NULL,
    visible_at  timestamptz NOT NULL,
    dead_at     timestamptz,
    last_error  text
);
-- split
CREATE INDEX queue_jobs_waiting ON queue_jobs (queue, visible_at) WHERE dead_at IS NULL;
-- split
CREATE INDEX queue_jobs_dead ON queue_jobs (queue, dead_at DESC) WHERE dead_at IS NOT NULL;
-- split

-- What was answered to whom, for requests that come twice: under a client's Idempotency-Key the whole reply, under a
-- fingerprint of the request the id of the row it made.
CREATE TABLE replays (
    key          bytea PRIMARY KEY,
    request_hash bytea,
    result_id    uuid,
    status       integer,
    body         bytea,
    expires_at   timestamptz NOT NULL
);
-- split
CREATE INDEX replays_result ON replays (result_id) WHERE result_id IS NOT NULL;
-- split
CREATE INDEX replays_expiry ON replays (expires_at);
-- split

CREATE FUNCTION role_rank(role text) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE role WHEN 'OWNER' THEN 3 WHEN 'ADMIN' THEN 2 WHEN 'MEMBER' THEN 1 ELSE 0 END
$$;
-- split

-- The one guard of everything on a trip. Always one row: what the caller may know, and their rank.
CREATE FUNCTION trip_gate(trip uuid, caller uuid, min_rank integer)
RETURNS TABLE (verdict text, trip_id uuid, rank integer) LANGUAGE sql STABLE AS $$
    SELECT CASE
               WHEN u.id IS NULL THEN 'user_not_onboarded'
               WHEN m.trip_id IS NULL THEN 'not_trip_member'
               WHEN t.deleted_at IS NOT NULL THEN 'trip_not_found'
               WHEN role_rank(m.role) < min_rank THEN 'insufficient_permissions'
               ELSE 'ok'
           END,
           m.trip_id,
           role_rank(m.role)
    FROM (SELECT 1) AS always
    LEFT JOIN user_profiles u ON u.id = caller
    LEFT JOIN trip_memberships m ON m.trip_id = trip AND m.user_id = caller AND m.status = 'ACTIVE'
    LEFT JOIN trips t ON t.id = m.trip_id
$$;
-- split

-- A time as it stands in events.
CREATE FUNCTION utc_text(moment timestamptz) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;
-- split

CREATE FUNCTION todo_json(
    id uuid, trip_id uuid, body text, status text, created_by uuid, created_at timestamptz, updated_at timestamptz
) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'id', id, 'tripId', trip_id, 'text', body, 'status', status, 'createdBy', created_by,
        'createdAt', utc_text(created_at), 'updatedAt', utc_text(updated_at)
    )
$$;
-- split

-- A trip as events carry it; what is not set is left out, since the client takes absent but not null.
CREATE FUNCTION trip_json(t trips) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_strip_nulls(jsonb_build_object(
        'id', t.id, 'name', t.name, 'description', t.description,
        'destinationPlaceId', t.destination_place_id, 'destinationAddress', t.destination_address,
        'destinationName', t.destination_name, 'destinationLatitude', t.destination_latitude,
        'destinationLongitude', t.destination_longitude,
        'startDate', to_char(t.start_date, 'YYYY-MM-DD"T00:00:00Z"'),
        'endDate', to_char(t.end_date, 'YYYY-MM-DD"T00:00:00Z"'),
        'status', t.status, 'createdBy', t.created_by, 'createdAt', utc_text(t.created_at),
        'updatedAt', utc_text(t.updated_at), 'backgroundImageUrl', t.background_image_url
    ))
$$;
