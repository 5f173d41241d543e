"""The exit statuses of the program in `child.py`."""

NOT_READABLE, TOO_MANY_PIXELS, NO_MEMORY = 3, 4, 5
