"""Signing up, signing in and sessions: /v1/auth."""
