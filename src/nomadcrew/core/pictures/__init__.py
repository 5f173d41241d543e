"""Pictures: photos of trips and avatars of users."""
