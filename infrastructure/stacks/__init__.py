"""The stacks, in the order in which they are deployed."""
