"""Errors that stop the host from starting."""


class StartupError(Exception):
    """One sentence for the operator that says what is wrong and what to do.

    The command line prints it and exits non-zero, without a traceback.
    """


class AlreadyRunning(StartupError):
    """Another host runs on the data folder."""
