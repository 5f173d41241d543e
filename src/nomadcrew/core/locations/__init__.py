"""Where the people on a trip are, and who may see it."""
