"""The weather at a trip's destination."""
