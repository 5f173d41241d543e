"""Messages between our own processes: events, jobs, records of streams and queues."""
