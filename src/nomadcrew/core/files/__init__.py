"""Files that people give to a trip: pictures and documents."""
