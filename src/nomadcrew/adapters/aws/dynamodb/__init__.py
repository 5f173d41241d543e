"""Ports on DynamoDB, one module per table."""
