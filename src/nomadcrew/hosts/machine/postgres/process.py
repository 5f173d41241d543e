"""PostgreSQL's main process, started by this host or by an earlier one that was killed."""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

FAST_S, IMMEDIATE_S = 10.0, 5.0
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class PidFile:
    """The PID file of a running PostgreSQL; `socket` is the folder as in its settings."""

    pid: int
    socket: str


def mark(data: Path) -> str:
    """A command-line argument that identifies a PostgreSQL of this host to operators and later hosts."""
    return f"nomadcrew.data={data}"


def read_pid_file(data: Path) -> PidFile | None:
    """The PID file of the PostgreSQL that runs or ran on `data`; None if it is missing or incomplete."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        return PidFile(abs(int(lines[0])), lines[4])
    except (OSError, ValueError, IndexError):
        return None


def is_postmaster_of(pid: int, data: Path) -> bool:
    """True if process `pid` is alive and is a PostgreSQL on `data`, not another process with a reused id."""
    if pid <= 1 or not exists(pid):
        return False
    words = _command_line(pid)
    if not words or Path(words[0]).name != "postgres":
        return False
    try:
        return os.path.samestat(Path(f"/proc/{pid}/cwd").stat(), data.stat())
    except OSError:
        # No /proc, or no permission (root in a container may lack it): the command line names the folder too.
        return not {str(data), mark(data)}.isdisjoint(words)


class Postmaster:
    """A running PostgreSQL. `child` is set if this process started it."""

    def __init__(self, pid: int, data: Path, child: "subprocess.Popen[bytes] | None" = None) -> None:
        self.pid = pid
        self._data = data
        self._child = child

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for a signal; None while it runs, or if another process started it."""
        return self._child.poll() if self._child else None

    def alive(self) -> bool:
        if self._child:
            return self._child.poll() is None
        # In a container an orphan becomes a child of process 1, which may be this process and must reap it.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)
        return is_postmaster_of(self.pid, self._data)

    async def stop(self, fast_s: float = FAST_S) -> None:
        """Stop it: a fast shutdown, then an immediate one, then SIGKILL. No acknowledged write is lost."""
        for number, timeout_s in (
            (signal.SIGINT, fast_s),
            (signal.SIGQUIT, IMMEDIATE_S),
            (signal.SIGKILL, IMMEDIATE_S),
        ):
            with contextlib.suppress(ProcessLookupError):
                if self.alive():
                    os.kill(self.pid, number)
            if await self._ended(timeout_s):
                return

    async def _ended(self, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while self.alive():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(_POLL_S)
        return True


def exists(pid: int) -> bool:
    """True if a process with this id exists, of any user."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _command_line(pid: int) -> list[str]:
    """The words of a process's command line; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
    except OSError:
        result = subprocess.run(  # noqa: S603
            ["/bin/ps", "-p", str(pid), "-o", "command="], capture_output=True, text=True, check=False
        )
        return result.stdout.split()
