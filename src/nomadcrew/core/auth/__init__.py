"""Users: accounts, sessions, tokens, profiles."""
