"""Calendars of trips, by secret link."""
