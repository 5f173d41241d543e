-- Webhooks of trips. Their secrets are derived from a key of the site and are not stored.
CREATE TABLE webhooks (
    id              uuid PRIMARY KEY,
    trip_id         uuid NOT NULL REFERENCES trips (id) ON DELETE CASCADE,
    url             text NOT NULL CHECK (length(url) BETWEEN 1 AND 1000),
    events          text[] NOT NULL CHECK (cardinality(events) BETWEEN 1 AND 100),
    is_enabled      boolean NOT NULL,
    -- The reason for which the server disabled the webhook; NULL if it is enabled, or if an admin disabled it.
    disabled_reason text CHECK (disabled_reason IN ('gone', 'failing')),
    -- The first of the failures since the last success.
    failing_since   timestamptz,
    created_by      uuid REFERENCES user_profiles (id) ON DELETE SET NULL,
    created_at      timestamptz NOT NULL,
    UNIQUE (trip_id, url)
);
-- split

-- Foreign keys are followed when a profile is deleted.
CREATE INDEX webhooks_of_user ON webhooks (created_by);
-- split

-- The deliveries of events to webhooks. `round` counts the redeliveries that were asked for.
CREATE TABLE webhook_deliveries (
    id           uuid PRIMARY KEY,
    webhook_id   uuid NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    event_id     uuid NOT NULL,
    event_type   text NOT NULL,
    created_at   timestamptz NOT NULL,
    round        integer NOT NULL DEFAULT 0,
    status       text NOT NULL CHECK (status IN ('pending', 'delivered', 'failed')),
    attempts     integer NOT NULL DEFAULT 0,
    attempted_at timestamptz,
    reply_status integer,
    error        text CHECK (length(error) <= 50),
    duration_ms  integer,
    UNIQUE (webhook_id, event_id)
);
-- split

CREATE INDEX webhook_deliveries_of_webhook ON webhook_deliveries (webhook_id, created_at DESC, id DESC);
-- split

CREATE INDEX webhook_deliveries_failed ON webhook_deliveries (webhook_id, created_at, id) WHERE status = 'failed';
-- split

CREATE INDEX webhook_deliveries_by_age ON webhook_deliveries (created_at);
-- split

-- Counts behind a lock, so that concurrent requests cannot exceed the limit.
CREATE FUNCTION locked_webhook_count(trip uuid) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(trip::text, 7206038));
    RETURN (SELECT count(*) FROM webhooks w WHERE w.trip_id = trip);
END
$$;
-- split

-- The id of a delivery, always the same for an event and a webhook: a version 8 UUID.
CREATE FUNCTION webhook_delivery_id(event uuid, webhook uuid) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT encode(set_byte(set_byte(hash, 6, get_byte(hash, 6) & 15 | 128), 8, get_byte(hash, 8) & 63 | 128), 'hex')::uuid
    FROM (SELECT substring(sha256(uuid_send(event) || uuid_send(webhook)) FOR 16) AS hash) AS derived
$$;
