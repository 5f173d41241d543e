"""The product's rules, with the standard library only."""
