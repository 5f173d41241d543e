"""A copy of who travels with whom, for what the shipped app reads elsewhere."""
