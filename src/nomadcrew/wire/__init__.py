"""Wire formats: the route table, calls, replies, problems, event envelopes, the OpenAPI document."""
