"""Users: profiles, their rules and preferences."""
