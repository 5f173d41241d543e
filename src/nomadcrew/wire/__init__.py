"""What crosses the network: the route table, calls, replies, problems, envelopes, the OpenAPI document."""
