"""Members of a trip and their roles."""
