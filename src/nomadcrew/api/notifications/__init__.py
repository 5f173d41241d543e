"""Notifications, preferences and pushes."""
