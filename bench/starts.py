"""The time from the start of the host on existing data to its first reply from the database."""

import http.client
import time
from pathlib import Path

from bench import machine
from bench.machine import CannotMeasure

POLL_S = 0.005


def start_s(home: Path, path: str, token: str) -> float:
    """Start the host on a filled data folder, request `path`, stop it. Returns seconds.

    Raises:
        CannotMeasure: the host does not start, or refuses the request.
    """
    port = machine.free_port()
    began_s = time.monotonic()
    with machine.nomadcrew_process(home, port=port) as process:
        while process.poll() is None and time.monotonic() < began_s + machine.START_TIMEOUT_S:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=machine.START_TIMEOUT_S)
            try:
                connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
                status = connection.getresponse().status
            except ConnectionRefusedError:
                time.sleep(POLL_S)
                continue
            finally:
                connection.close()
            if status != 200:
                raise CannotMeasure(f"The first request after a start is answered {status}.")
            return time.monotonic() - began_s
    raise CannotMeasure(f"The server did not start on existing data; see {home.parent}.")
