"""The host on one machine."""
