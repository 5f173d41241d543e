"""Users: profiles and push tokens."""
