"""The signed client of AWS services, its configuration and its secrets."""
