"""Invitations to a trip."""
