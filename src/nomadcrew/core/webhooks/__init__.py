"""Webhooks: the events of a trip, sent to servers that its admins choose."""
