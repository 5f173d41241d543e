"""The embedded PostgreSQL: its programs, its cluster, its process."""
