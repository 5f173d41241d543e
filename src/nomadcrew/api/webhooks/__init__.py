"""Webhooks of trips: routes, bodies and the consumer that sends."""
