"""How many files, and with them sockets, a process may have open."""

import logging
import resource

log = logging.getLogger("nomadcrew.host")

# What one process promises to hold, and beside it the database's connections, the listener, logs and pages.
PROMISED_SOCKETS = 5_000
OTHER_FILES = 200


def allow_open_files(wanted: int = PROMISED_SOCKETS + OTHER_FILES) -> int:
    """Raise this process's own limit of open files as far as the system lets it, and say so if that is too low.

    Returns how many it may have open now.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _beyond(soft, hard)
    if most != resource.RLIM_INFINITY and most < wanted:
        fields = {"open_files": most, "sockets": max(0, most - OTHER_FILES)}
        log.warning(
            "this system allows fewer open files than %d sockets need; raise the limit (ulimit -Hn, LimitNOFILE)",
            PROMISED_SOCKETS,
            extra={"fields": fields},
        )
    return most


def _beyond(soft: int, hard: int) -> int:
    """The highest limit that could be set."""
    if soft == hard:
        return soft
    # macOS names infinity as the hard limit and then takes no more than the kernel's own.
    for limit in (hard, 65_536, 10_240):
        if soft != resource.RLIM_INFINITY and limit != resource.RLIM_INFINITY and limit <= soft:
            continue
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        except (ValueError, OSError):
            continue
        return limit
    return soft
