"""Synchronisation: the entities that changed since a client's cursor."""
