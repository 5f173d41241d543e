"""The only place that knows which adapter stands behind a port: on one machine, and in a function."""
