"""Ports on PostgreSQL, shared by both hosts: SQL by hand, one named statement per question."""
