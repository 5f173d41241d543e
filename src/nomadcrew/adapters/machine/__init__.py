"""Adapters of one machine, in the place of cloud services."""
