"""Presence: online members, and last seen times."""
