"""A well-behaved client in a process of its own: `python -m tests.e2e.prober URL TOKEN SECONDS`.

Asks for its trips some twenty times a second on one connection, and prints the latencies in milliseconds as JSON,
null for a request that failed.
"""

import http.client
import json
import sys
import time
from urllib.parse import urlsplit

PAUSE_S = 0.04
TIMEOUT_S = 10.0


def probe(url: str, token: str, seconds: float) -> list[float | None]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    latencies: list[float | None] = []
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        started_s = time.perf_counter()
        try:
            connection.request("GET", "/v1/trips", headers={"authorization": f"Bearer {token}"})
            reply = connection.getresponse()
            reply.read()
            took_ms = (time.perf_counter() - started_s) * 1000
            latencies.append(took_ms if reply.status == 200 else None)
        except OSError:
            latencies.append(None)
            connection.close()
        time.sleep(PAUSE_S)
    return latencies


if __name__ == "__main__":
    print(json.dumps(probe(sys.argv[1], sys.argv[2], float(sys.argv[3]))))
