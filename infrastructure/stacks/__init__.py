"""The stacks, in the order of deployment."""
