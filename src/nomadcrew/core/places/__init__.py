"""Towns by a part of their name, and by coordinates."""
