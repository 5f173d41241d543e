"""People: accounts, sessions, tokens, profiles."""
