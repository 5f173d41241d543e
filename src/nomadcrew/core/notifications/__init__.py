"""What a person is told about their trips."""
