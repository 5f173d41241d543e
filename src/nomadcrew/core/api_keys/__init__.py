"""API keys: credentials of a user for programs, limited in rights and time."""
