"""HTTP on one machine: ASGI, routing, CORS, health, metrics."""
