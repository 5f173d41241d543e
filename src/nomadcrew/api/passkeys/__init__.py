"""Passkeys of users."""
