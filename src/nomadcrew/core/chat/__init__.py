"""A trip's chat."""
