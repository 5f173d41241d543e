"""What stands in for a cloud service on one machine."""
