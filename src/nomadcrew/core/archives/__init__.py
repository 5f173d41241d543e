"""A trip as one ZIP: export and import."""
