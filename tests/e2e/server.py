"""`nomadcrew up` as an operator runs it: a separate process with its own data folder.

Tests can kill it in every way, and start it again on the same folder and port. The next run removes leftovers of
killed tests.
"""

import asyncio
import atexit
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from nomadcrew.hosts.machine.postgres.process import exists, is_postmaster_of, read_pid_file

PREFIX = "nomadcrew-e2e-"
START_S = 60.0
STOP_S = 30.0
LOG_TAIL = 6_000
_ADDRESS = re.compile(r"^ +address +(http\S+)$", re.MULTILINE)
_POLL_S = 0.02
_PROGRAM = str(Path(sys.executable).with_name("nomadcrew"))
# Settings in the tests' environment must not reach the server.
_SETTING = re.compile(r"NOMADCREW_|HOST$|PORT$|LOG_LEVEL$")


class Server:
    """One data folder and its host. `url` is set by the first start and stays."""

    def __init__(self, **environment: str) -> None:
        """`environment` holds settings, except home and port."""
        sweep()
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        (self.folder / "owner").write_text(str(os.getpid()))
        self.folder.chmod(0o711)  # PostgreSQL runs as another user when the tests are root
        self.home = self.folder / "home"
        self.url = ""
        self._environment = environment
        self._log = self.folder / "server.log"
        self._log.touch()
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)

    @property
    def mail(self) -> Path:
        return self.home / "mail"

    @property
    def log(self) -> str:
        """The complete log, over all starts."""
        return self._log_since(0)

    @property
    def errors(self) -> list[str]:
        """The log lines that report a bug."""
        return [line for line in self.log.splitlines() if '"level":"ERROR"' in line or line.startswith("Traceback")]

    @property
    def pid(self) -> int:
        """The pid of the host's process."""
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    async def start(self) -> None:
        """Start the host and wait until it answers."""
        log_size = self._log.stat().st_size
        port = self.url.rpartition(":")[2] or "0"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [_PROGRAM, "up"],
                env={"PORT": port, **self._settings()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # else Ctrl-C in the terminal of the tests would reach it
            )
        deadline_s = time.monotonic() + START_S
        while not (address := _ADDRESS.search(log_text := self._log_since(log_size))):
            if not self.running or time.monotonic() > deadline_s:
                raise AssertionError(f"the server did not start:\n{log_text}")
            await asyncio.sleep(_POLL_S)
        self.url = address[1]

    async def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        """Ask the host to stop, as Ctrl-C does; returns its exit code."""
        assert self._process is not None
        self._process.send_signal(how)
        return await self._ended()

    async def kill_host(self) -> None:
        """Kill the host's process; PostgreSQL survives it."""
        assert self._process is not None
        self._process.kill()
        await self._ended()

    @property
    def postmaster(self) -> int | None:
        """The pid of PostgreSQL's main process, if it runs."""
        data = self.home / "postgres"
        note = read_pid_file(data)
        return note.pid if note and is_postmaster_of(note.pid, data) else None

    def kill_postgres(self) -> int:
        """Kill PostgreSQL's main process; return its pid."""
        pid = self.postmaster
        assert pid is not None, "no PostgreSQL is running"
        os.kill(pid, signal.SIGKILL)
        return pid

    async def command(self, *words: str) -> str:
        """Run a command of `nomadcrew` on the data folder; return what it prints."""
        ended = await asyncio.to_thread(
            subprocess.run,
            [_PROGRAM, *words],
            env=self._settings(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_S,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def _settings(self) -> dict[str, str]:
        """The environment of the host and of commands."""
        inherited = {name: value for name, value in os.environ.items() if not _SETTING.match(name)}
        own = {"NOMADCREW_HOME": str(self.home), "HOST": "127.0.0.1", "NOMADCREW_WORKERS": "1",
               "NOMADCREW_WEATHER_URL": "off", "NOMADCREW_PLACES": "off"}  # fmt: skip
        return {**inherited, **own, **self._environment}

    def close(self) -> None:
        """End the processes and remove the folder. Idempotent, in any state."""
        atexit.unregister(self.close)
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_S)
        _remove(self.folder)

    def _log_since(self, start: int) -> str:
        with self._log.open("rb") as file:
            file.seek(start)
            return file.read().decode(errors="replace")

    async def _ended(self) -> int:
        assert self._process is not None
        deadline_s = time.monotonic() + STOP_S
        while (code := self._process.poll()) is None:
            if time.monotonic() > deadline_s:
                raise AssertionError(f"the server did not end:\n{self.log[-LOG_TAIL:]}")
            await asyncio.sleep(_POLL_S)
        return code

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def sweep() -> None:
    """End the servers of tests that were killed, and remove their folders."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        # Skip the folder of another user, and one that is being created.
        with contextlib.suppress(OSError, ValueError):
            if exists(int((folder / "owner").read_text())):
                continue
            _kill_host_of(folder / "home")
            _remove(folder)


def _kill_host_of(home: Path) -> None:
    """Kill the host named in the folder's lock, if that process still is a host."""
    pid = (home / "host.lock").read_text().partition(" ")[0] if (home / "host.lock").exists() else ""
    if pid and b"nomadcrew" in Path(f"/proc/{pid}/cmdline").read_bytes():
        os.kill(int(pid), signal.SIGKILL)


def _remove(folder: Path) -> None:
    """Stop PostgreSQL, which survives its host, and remove the server's folder."""
    data = folder / "home" / "postgres"
    note = read_pid_file(data)
    deadline_s = time.monotonic() + STOP_S
    while note and is_postmaster_of(note.pid, data) and time.monotonic() < deadline_s:
        with contextlib.suppress(ProcessLookupError):
            os.kill(note.pid, signal.SIGQUIT)
        time.sleep(_POLL_S)
    shutil.rmtree(folder, ignore_errors=True)
