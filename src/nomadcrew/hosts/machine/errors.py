"""Why the host will not start."""


class CannotStart(Exception):
    """One sentence, for the person at the terminal, that says what is wrong and what to do.

    The command line prints it and exits non-zero; nobody sees a traceback.
    """


class HostRuns(CannotStart):
    """Another host holds the data folder."""
