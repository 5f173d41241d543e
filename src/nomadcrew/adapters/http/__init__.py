"""Adapters of external services, over HTTP."""
