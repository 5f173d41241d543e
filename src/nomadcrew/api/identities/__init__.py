"""Sign-in with accounts at other services."""
