"""The first screen of a trip: the first pages of its lists."""
