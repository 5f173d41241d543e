"""A trip's members and their presence."""
