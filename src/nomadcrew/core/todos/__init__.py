"""A trip's shared to-dos."""
