"""The limit of open file descriptors, and thereby of sockets, of a process."""

import logging
import resource

log = logging.getLogger("nomadcrew.host")

# Sockets that one process can hold; the rest is for the database, the listener, logs and pages.
PROMISED_SOCKETS = 5_000
OTHER_FILES = 200
MOST_CONNECTIONS = 100_000
MIN_CONNECTIONS = 50


def allow_open_files(wanted: int = PROMISED_SOCKETS + OTHER_FILES) -> int:
    """Raise this process's limit of open files as far as possible; log a warning if it is still too low.

    Returns the new limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = _raise_limit(soft, hard)
    if limit != resource.RLIM_INFINITY and limit < wanted:
        fields = {"open_files": limit, "sockets": max(0, limit - OTHER_FILES)}
        log.warning(
            "the open-file limit is too low for %d sockets; raise it (ulimit -Hn, LimitNOFILE)",
            PROMISED_SOCKETS,
            extra={"fields": fields},
        )
    return limit


def most_connections() -> int:
    """The connections that this process can hold beside its other files; beyond, it would accept none at all."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MOST_CONNECTIONS if limit == resource.RLIM_INFINITY else max(MIN_CONNECTIONS, limit - OTHER_FILES)


def _raise_limit(soft: int, hard: int) -> int:
    """Set the highest limit that the system accepts and return it."""
    if soft == hard:
        return soft
    # macOS reports infinity as the hard limit, but accepts no more than the kernel's own.
    for limit in (hard, 65_536, 10_240):
        if soft != resource.RLIM_INFINITY and limit != resource.RLIM_INFINITY and limit <= soft:
            continue
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        except (ValueError, OSError):
            continue
        return limit
    return soft
