"""Positions of a trip's members, and their privacy."""
