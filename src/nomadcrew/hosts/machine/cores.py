"""The CPU cores that this process may use, and how many server processes they are enough for."""

import math
import os
from pathlib import Path

from nomadcrew.settings import MAX_WORKERS

CGROUP = Path("/sys/fs/cgroup")


def default_workers(cores: int) -> int:
    """One server process for two cores: PostgreSQL takes nearly as much CPU as the process that answers.

    Source: docs/adr/0036-one-server-process-for-two-cores.md.
    """
    return min(max(1, cores // 2), MAX_WORKERS)


def available_cores() -> int:
    """The cores of this machine, as far as affinity and the quota of a container or service allow."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(min(cores, quota_cores(_own_cgroup())))


def quota_cores(cgroup: Path, root: Path = CGROUP) -> float:
    """The lowest quota of a cgroup and those above it, rounded up to whole cores; `inf` without one.

    Source: `cpu.max` in the kernel's documentation of cgroup v2.
    """
    quotas = [_quota(folder / "cpu.max") for folder in (cgroup, *cgroup.parents) if folder.is_relative_to(root)]
    lowest = min(quotas, default=math.inf)
    return lowest if lowest == math.inf else math.ceil(lowest)


def _own_cgroup() -> Path:
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return CGROUP
    return next((CGROUP / line[4:].lstrip("/") for line in lines if line.startswith("0::/")), CGROUP)


def _quota(file: Path) -> float:
    """Cores by a file with `quota period`, in microseconds, or `max period`."""
    try:
        quota, period = file.read_text().split()
    except (OSError, ValueError):
        return math.inf
    return math.inf if quota == "max" else int(quota) / int(period)
