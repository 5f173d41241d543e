"""Reusable constructs: a function with its role, a queue with its dead letters."""
