"""Feedback about the app, for the operator."""
