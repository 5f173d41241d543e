"""Trips."""
