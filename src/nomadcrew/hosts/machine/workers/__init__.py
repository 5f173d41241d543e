"""Several processes on one port: the supervisor, its workers and their messages."""
