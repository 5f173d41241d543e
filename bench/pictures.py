"""`python -m bench.pictures`: photos added to a trip, beside Pillow alone, which makes the same renditions."""

import argparse
import io
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

from PIL import Image

from bench import machine
from bench.machine import CannotMeasure, Server
from bench.prepare import new_trip, register
from bench.report import table
from nomadcrew.adapters.pictures.decoding import renditions_of
from nomadcrew.cli.client import ApiClient
from nomadcrew.core.pictures.model import LARGE, SMALL

# As the shipped app sends photos.
WIDTH_PX, HEIGHT_PX, QUALITY = 1920, 1440, 80
READY_WITHIN_S = 120.0


@dataclass(frozen=True, slots=True)
class Cost:
    """Of a photo: the latency of its request, the time until its renditions are there, and CPU."""

    reply_ms: float
    ready_ms: float
    cpu_ms: float


def photo() -> bytes:
    """A JPEG that no other run has, with as much detail as a photo."""
    noise = Image.frombytes("RGB", (WIDTH_PX // 8, HEIGHT_PX // 8), os.urandom(WIDTH_PX * HEIGHT_PX * 3 // 64))
    encoded = io.BytesIO()
    noise.resize((WIDTH_PX, HEIGHT_PX), Image.Resampling.BICUBIC).save(encoded, "JPEG", quality=QUALITY)
    return encoded.getvalue()


def added(server: Server, member: ApiClient, trip: str, content: bytes) -> Cost:
    """Add a photo and wait for its renditions."""
    path = f"/v1/trips/{trip}/images"
    headers = {"authorization": f"Bearer {member.token}", "content-type": "image/jpeg"}
    before_s, began_s = machine.tree_cpu_seconds(server.pid), time.perf_counter()
    with urlopen(Request(server.url + path, content, headers)):
        replied_s = time.perf_counter()
    while (newest := member.get(f"{path}?limit=1")[0])["status"] != "ready":
        if time.perf_counter() - began_s > READY_WITHIN_S or newest["status"] == "failed":
            raise CannotMeasure(f"The photo is {newest['status']}.")
        time.sleep(0.02)
    ready_s, used_s = time.perf_counter(), machine.tree_cpu_seconds(server.pid) - before_s
    return Cost((replied_s - began_s) * 1e3, (ready_s - began_s) * 1e3, used_s * 1e3)


def alone_ms(content: bytes) -> float:
    """CPU of Pillow for the same renditions, in this process."""
    before_s = time.process_time()
    renditions_of(io.BytesIO(content), (LARGE, SMALL))
    return (time.process_time() - before_s) * 1e3


def measure(count: int) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="pictures-", dir=machine.scratch()) as name,
        machine.nomadcrew(Path(name, "home")) as server,
    ):
        member = register(server.url, "ana")
        trip = str(new_trip(member, 0)["id"])
        costs, alone = [], []
        for _ in range(count):
            content = photo()
            costs.append(added(server, member, trip, content))
            alone.append(alone_ms(content))
    _report(costs, alone, len(content))


def _report(costs: Sequence[Cost], alone: Sequence[float], size_bytes: int) -> None:
    cpu_ms, pillow_ms = statistics.median(cost.cpu_ms for cost in costs), statistics.median(alone)
    row = (
        f"{size_bytes >> 10:,} KiB",
        f"{statistics.median(cost.reply_ms for cost in costs):,.0f}",
        f"{statistics.median(cost.ready_ms for cost in costs):,.0f}",
        f"{cpu_ms:,.0f}",
        f"{pillow_ms:,.0f}",
        f"{cpu_ms / pillow_ms:.2f}×",
    )
    head = ("photo", "reply ms", "renditions after ms", "CPU ms", "Pillow alone CPU ms", "CPU × Pillow")
    print(table(head, [row]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20, help="number of photos")
    chosen = parser.parse_args()
    try:
        machine.require_linux()
        measure(chosen.count)
    except CannotMeasure as reason:
        sys.exit(str(reason))


if __name__ == "__main__":
    main()
