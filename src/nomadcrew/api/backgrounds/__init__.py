"""Background pictures of trips."""
