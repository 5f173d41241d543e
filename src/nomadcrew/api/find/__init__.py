"""The search of a trip."""
