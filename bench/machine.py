"""Starts the measured processes and reads their resource use from the kernel.

Requires /proc, so Linux only.
"""

import contextlib
import http.client
import os
import platform
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

REPOSITORY = Path(__file__).resolve().parent.parent
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
# Of uvicorn without an application behind it: the host's own.
EMPTY_OPTIONS = ("--no-access-log", "--lifespan", "off")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class CannotMeasure(Exception):
    """The reason why there is no result, in one sentence that says what to do."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server under load; `pid` is the process whose CPU is measured, `postgres_pid` its postmaster, if any."""

    name: str
    pid: int
    url: str
    postgres_pid: int | None = None

    def cpu_seconds(self) -> float:
        return cpu_seconds(self.pid)

    def postgres_seconds(self) -> float:
        """CPU of all processes of its PostgreSQL."""
        return 0.0 if self.postgres_pid is None else tree_cpu_seconds(self.postgres_pid)

    @property
    def host_and_port(self) -> tuple[str, int]:
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return host, int(port)


def cpu_seconds(pid: int) -> float:
    """User and system seconds of a process so far: all threads, no children."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def tree_cpu_seconds(pid: int, *, without: Collection[int] = ()) -> float:
    """The same of a process and all processes below it, with those that ended; `without` are not descended into.

    Raises:
        FileNotFoundError: the process does not exist.
    """
    children: dict[int, list[int]] = {}
    stats = {pid: _stat(pid)}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            fields = stats[int(path.name)] = _stat(int(path.name))
            children.setdefault(int(fields[1]), []).append(int(path.name))
    total, waiting = 0, [pid]
    while waiting:
        parent = waiting.pop()
        # Own user and system time, and that of ended children.
        total += sum(map(int, stats[parent][11:15]))
        waiting += [child for child in children.get(parent, ()) if child not in without]
    return total / _TICKS_PER_S


def _stat(pid: int) -> Sequence[str]:
    """The fields of a process from the third on: the second, the name in parentheses, may contain spaces."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()


def rss_mib(pid: int) -> float:
    """Resident memory of a process, in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def busy_seconds() -> float:
    """CPU seconds used on this machine since it booted, including steal time."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = Path("/proc/stat").read_text().split()[1:9]
    return sum(map(int, (user, nice, system, irq, softirq, steal))) / _TICKS_PER_S


def commit() -> str:
    """The short hash of the measured commit, marked if the tree has changes."""
    git = ["git", "-C", str(REPOSITORY)]
    short = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    changed = subprocess.run([*git, "status", "--porcelain", "src"], capture_output=True, text=True, check=True)
    return short.stdout.strip() + ("-changed" if changed.stdout else "")


def description() -> str:
    """The machine in one line."""
    cpu = next(
        (line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
         if line.startswith("model name")), platform.machine(),
    )  # fmt: skip
    return f"{os.cpu_count()} × {cpu}, Linux {platform.release()}, Python {platform.python_version()}"


def scratch() -> Path:
    """A folder for temporary data. Not in /tmp, which may be in memory: commits must wait for a disk."""
    folder = REPOSITORY / "bench" / "results" / "scratch.tmp"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def send(url: str, request: bytes) -> tuple[int, bytes]:
    """Send a whole HTTP request; returns the status and the body of its reply.

    Raises:
        CannotMeasure: there is no reply.
    """
    address = urlsplit(url)
    try:
        with socket.create_connection((address.hostname, address.port or 80), timeout=30) as connection:
            connection.sendall(request)
            reply = http.client.HTTPResponse(connection, method=request.partition(b" ")[0].decode())
            reply.begin()
            return reply.status, reply.read()
    except (OSError, http.client.HTTPException) as reason:
        raise CannotMeasure(f"{url} gives no reply: {reason!r}") from None


def require_linux() -> None:
    """Raises `CannotMeasure`: /proc is missing."""
    if not Path("/proc/self/stat").exists():
        raise CannotMeasure("CPU times of other processes are read from /proc: run this on Linux.")


@contextlib.contextmanager
def nomadcrew(home: Path, settings: Mapping[str, str] | None = None) -> Iterator[Server]:
    """`nomadcrew up` on a data folder, as in production but without rate limits; its log goes to a file."""
    with nomadcrew_process(home, port=0, settings=settings) as process:
        url = _announced(process, home.parent / "nomadcrew.out")
        yield Server("nomadcrew", process.pid, url, _postmaster(home))


def nomadcrew_process(
    home: Path, *, port: int, settings: Mapping[str, str] | None = None
) -> AbstractContextManager["subprocess.Popen[bytes]"]:
    """The same, before it listens."""
    environment = {
        "NOMADCREW_HOME": str(home),
        "PORT": str(port),
        "NOMADCREW_WORKERS": "1",
        "NOMADCREW_RATE_LIMITS": "off",
        "NOMADCREW_CONNECTIONS_PER_ADDRESS": "100000",
        **(settings or {}),
    }
    program = "from nomadcrew.cli import main; main()"
    return _process([sys.executable, "-c", program, "up"], environment, home.parent / "nomadcrew")


def _postmaster(home: Path) -> int:
    return int((home / "postgres" / "postmaster.pid").read_text().splitlines()[0])


@contextlib.contextmanager
def plain(folder: Path, environment: Mapping[str, str], postgres_pid: int | None) -> Iterator[Server]:
    """`bench.plain_fastapi` under uvicorn, as its manual recommends: one worker, its log in a file."""
    with uvicorn("plain", "bench.plain_fastapi:app", folder, environment, ["--ws", "websockets-sansio"]) as server:
        yield replace(server, postgres_pid=postgres_pid)


@contextlib.contextmanager
def empty(folder: Path, environment: Mapping[str, str]) -> Iterator[Server]:
    """`bench.empty` under uvicorn with the host's options."""
    with uvicorn("empty", "bench.empty:app", folder, environment, EMPTY_OPTIONS) as server:
        yield server


@contextlib.contextmanager
def uvicorn(
    name: str, app: str, folder: Path, environment: Mapping[str, str], options: Sequence[str]
) -> Iterator[Server]:
    port = free_port()
    command = [
        sys.executable, "-m", "uvicorn", app, "--host", "127.0.0.1", "--port", str(port),
        "--loop", "uvloop", "--http", "httptools", *options,
    ]  # fmt: skip
    with _process(command, environment, folder / name) as process:
        server = Server(name, process.pid, f"http://127.0.0.1:{port}")
        _await_answer(process, f"{server.url}/health", folder / f"{name}.err")
        yield server


def echo(folder: Path) -> AbstractContextManager[Server]:
    """`bench.echo`, to measure the WebSocket library alone."""
    port = free_port()
    return serving("echo", [sys.executable, "-m", "bench.echo", str(port)], port, folder)


@contextlib.contextmanager
def serving(name: str, command: list[str], port: int, folder: Path) -> Iterator[Server]:
    """A command that listens on a port."""
    with _process(command, {}, folder / name) as process:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2):
                break
            if process.poll() is not None or time.monotonic() > deadline_s:
                raise CannotMeasure(f"The {name} server does not answer; see {folder / f'{name}.err'}.")
            time.sleep(0.05)
        yield Server(name, process.pid, f"http://127.0.0.1:{port}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def _process(command: list[str], environment: Mapping[str, str], logs: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A child process with its output in `<logs>.out` and `<logs>.err`; stopped at the end, by force if needed."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("NOMADCREW_")}
    inherited["PYTHONPATH"] = f"{REPOSITORY / 'src'}:{REPOSITORY}"
    with logs.with_suffix(".out").open("wb") as out, logs.with_suffix(".err").open("wb") as err:
        process = subprocess.Popen(command, env={**inherited, **environment}, stdout=out, stderr=err)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _announced(process: "subprocess.Popen[bytes]", out: Path) -> str:
    """The URL that `nomadcrew up` prints once it answers."""
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline_s and process.poll() is None:
        for line in out.read_text().splitlines():
            if line.strip().startswith("address"):
                return line.split()[1]
        time.sleep(0.05)
    raise CannotMeasure(f"The server did not start; see {out} and the .err file beside it.")


def _await_answer(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline_s and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2):
            return
        time.sleep(0.1)
    raise CannotMeasure(f"{url} does not answer; see {log}.")
