"""The web framework: rows of routes, the dispatcher, bodies, problems, OpenAPI, socket frames."""
