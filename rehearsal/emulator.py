"""The emulator as a process: on a free port, in a private folder, and stopped however its user ends."""

import atexit
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).parents[1]
ACCOUNT = "000000000000"
REGION = "eu-west-1"
PREFIX = "nomadcrew-emulator-"
OWNER, PROCESS = "owner.pid", "process.pid"
START_S = 60.0
STOP_S = 3.0


class Emulator:
    """One emulator. `environment` has the variables that clients need."""

    def __init__(
        self,
        *,
        auth: bool = True,
        postgres: Mapping[str, Any] | None = None,
        lambda_python: Path | None = None,
        extra: Mapping[str, str] | None = None,
    ) -> None:
        """
        Args:
            auth: check signatures and policies.
            postgres: arguments for `asyncpg.connect` of the server behind every cluster.
            lambda_python: the interpreter for functions.
        """
        sweep()
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        (self.folder / OWNER).write_text(str(os.getpid()))
        self.log = self.folder / "emulator.log"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        self.settings = {
            "GATEWAY_PORT": str(self.port),
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_HOST": "localhost",
            "MINISTACK_REGION": REGION,
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "AUTH": "true" if auth else "false",
            "TMPDIR": str(self.folder),
            **({} if postgres is None else {"EMULATOR_POSTGRES": json.dumps(dict(postgres))}),
            **({} if lambda_python is None else {"EMULATOR_LAMBDA_PYTHON": str(lambda_python)}),
            **(extra or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.stop)

    def start(self) -> None:
        """Start the emulator and wait until it answers.

        Raises:
            RuntimeError: it ended, or did not answer in time; the message has the end of its log.
        """
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "NOMADCREW_"))
        }
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "rehearsal.launcher"],
                cwd=ROOT,
                env={**inherited, **self.environment, **self.settings},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        (self.folder / PROCESS).write_text(str(self._process.pid))
        deadline_s = time.monotonic() + START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                raise RuntimeError(f"the emulator did not start:\n{self.log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop the emulator and its child processes, and remove its folder. Safe to repeat."""
        atexit.unregister(self.stop)
        process = self._process
        if process is not None:
            # Workers share its process group. It may not react to SIGTERM while a stack hangs.
            for number, wait_s in ((signal.SIGTERM, STOP_S), (signal.SIGKILL, STOP_S)):
                try:
                    os.killpg(process.pid, number)
                    process.wait(wait_s)
                except (ProcessLookupError, subprocess.TimeoutExpired):
                    continue
            self._process = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/_ministack/health", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def sweep() -> None:
    """Stop the emulators of killed processes, and remove their folders."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        # Skips folders of other users, and folders that are being created.
        with contextlib.suppress(OSError, ValueError):
            if Path(f"/proc/{int((folder / OWNER).read_text())}").exists():
                continue
            with contextlib.suppress(OSError):
                pid = int((folder / PROCESS).read_text())
                # The process id may have been reused.
                if b"rehearsal.launcher" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.killpg(pid, signal.SIGKILL)
            shutil.rmtree(folder)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
