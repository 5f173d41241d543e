"""Polls of a trip."""
