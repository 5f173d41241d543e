"""Erasure of accounts."""
