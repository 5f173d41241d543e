"""Synchronisation of clients' copies."""
