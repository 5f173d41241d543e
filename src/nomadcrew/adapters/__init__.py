"""Adapters: the implementations of the ports, by technology."""
