"""Trips: a journey with dates, a destination and a status."""
