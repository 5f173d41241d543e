"""Invitations to a trip, by mail."""
