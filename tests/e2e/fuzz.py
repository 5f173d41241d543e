"""Schemathesis against a running server: no 5xx, no undocumented status, every reply within its schema.

python -m tests.e2e.fuzz --examples 200 --seed 7
"""

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.request import Request, urlopen

from tests.e2e.client import Api, eventually
from tests.e2e.server import Server
from tests.open_meteo import open_meteo

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
# Logout would end the fuzzer's own session; the other routes cover the use of refresh tokens.
EXCLUDED = "/v1/auth/logout"


@asynccontextmanager
async def fuzzed_server() -> AsyncIterator[Server]:
    """A server without rate limits, with places and a weather service, which would refuse with 503 otherwise."""
    with open_meteo() as weather:
        settings = {"NOMADCREW_PLACES": "offline", "NOMADCREW_WEATHER_URL": weather.url}
        async with Server(NOMADCREW_RATE_LIMITS="off", **settings) as server:
            api = Api(server.url)
            ana = await api.register("ana")

            async def has_places() -> bool:
                return (await ana.send("GET", "/v1/places/suggest?q=po")).status_code == 200

            await eventually(has_places, within_s=60)
            await api.close()
            yield server


def fuzz(url: str, *, examples: int, seed: int, stateful_steps: int = 8) -> subprocess.CompletedProcess[str]:
    """Send `examples` cases per operation and follow the document's links; a failure exits non-zero."""
    with tempfile.TemporaryDirectory() as folder:
        # A slow generation of examples must not fail a build.
        config = Path(folder) / "schemathesis.toml"
        config.write_text(f"[phases.stateful]\nmax-steps = {stateful_steps}\n")
        command = [
            str(Path(sys.executable).with_name("schemathesis")),
            "--config-file", str(config), "run", f"{url}/openapi.json",
            "-H", f"Authorization: Bearer {_token(url, seed)}",
            "--checks", CHECKS, "--exclude-path", EXCLUDED, "--max-examples", str(examples), "--seed", str(seed),
            "--suppress-health-check", "all", "--warnings", "off", "--continue-on-failure", "--no-color",
        ]  # fmt: skip
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def _token(url: str, seed: int) -> str:
    """An access token of a new user."""
    body = {"email": f"fuzz-{seed}-{random.randrange(10**9)}@example.org", "password": "Over-the-hills-7"}
    request = Request(f"{url}/v1/auth/register", json.dumps(body).encode(), {"content-type": "application/json"})
    with urlopen(request) as reply:
        return str(json.load(reply)["access_token"])


async def _main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=200, help="cases per operation")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    arguments = parser.parse_args()
    async with fuzzed_server() as server:
        print(
            f"fuzzing {server.url} with {arguments.examples} cases per operation, seed {arguments.seed} …",
            flush=True,
        )
        done = await asyncio.to_thread(
            fuzz, server.url, examples=arguments.examples, seed=arguments.seed, stateful_steps=20
        )
        print(done.stdout, done.stderr)
        bugs = [line for line in server.log.splitlines() if '"level":"ERROR"' in line]
        print(f"errors in the server's log: {len(bugs)}", *bugs[:20], sep="\n")
        return done.returncode or bool(bugs)


if __name__ == "__main__":
    sys.exit(asyncio.run(_main()))
