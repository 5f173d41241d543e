"""A trip's chat: routes, bodies and socket frames."""
