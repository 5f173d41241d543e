"""Photos of trips and avatars of users."""
