"""Ports on PostgreSQL, used by both hosts: hand-written SQL, one named statement per question."""
