"""A trip's to-dos."""
