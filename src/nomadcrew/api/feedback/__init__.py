"""Feedback about the app."""
