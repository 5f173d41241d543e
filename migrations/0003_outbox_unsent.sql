-- Since when an event that has its place waits to be told to a publisher elsewhere; NULL once it was told, and always
-- where the publisher is the database itself.

ALTER TABLE outbox ADD COLUMN unsent_since timestamptz;
-- split
CREATE INDEX outbox_unsent ON outbox (unsent_since) WHERE unsent_since IS NOT NULL;
