"""Export and import of a trip."""
