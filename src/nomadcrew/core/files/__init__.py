"""Files that members upload to a trip: pictures and documents."""
