-- The publisher looks for events after the last one that it sent, if an outage swallowed the answer about them.
CREATE INDEX outbox_published ON outbox (position) WHERE position IS NOT NULL;
