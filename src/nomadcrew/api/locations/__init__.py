"""Positions, sharing and meeting points: routes, bodies and socket frames."""
