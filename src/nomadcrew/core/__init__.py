"""The hexagon: what the product does, on the standard library only."""
