"""Chooses the adapter of each port, on one machine and in a Lambda function."""
