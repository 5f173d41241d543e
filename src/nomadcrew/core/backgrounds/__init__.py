"""Background pictures of trips, found by a service."""
