"""`python -m bench.files`: downloads of a document, beside Starlette's file server on the same file.

The host reads the signature of the link, limits what a client takes at once, and sends ranges.
"""

import argparse
import contextlib
import secrets
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

from bench import machine, requests, wrk
from bench.machine import CannotMeasure, Server
from bench.prepare import register
from bench.report import table
from bench.requests import Template

CONNECTIONS = (1, 16)
FILE_BYTES = 4 << 20
FILE_SERVER = """\
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

health = Route("/health", lambda _: PlainTextResponse(""))
app = Starlette(routes=[health, Mount("/", StaticFiles(directory="files"))])
"""


@dataclass(frozen=True, slots=True)
class Transfer:
    mib_per_s: float
    cpu_us_per_mib: float


@contextlib.contextmanager
def servers(folder: Path) -> Iterator[Mapping[str, tuple[Server, str]]]:
    """The host with a document, and the file server with the same bytes; each with the path of the file."""
    pdf = b"%PDF-1.7\n" + secrets.token_bytes(FILE_BYTES)
    with machine.nomadcrew(folder / "home") as ours:
        link = _upload(ours.url, pdf)
        (folder / "files").mkdir()
        (folder / "files" / "document.pdf").write_bytes(pdf)
        (folder / "file_server.py").write_text(FILE_SERVER.replace('"files"', repr(str(folder / "files"))))
        options = (*machine.EMPTY_OPTIONS, "--app-dir", str(folder))
        with machine.uvicorn("files", "file_server:app", folder, {}, options) as files:
            yield {"host": (ours, link), "file server": (files, "/document.pdf")}


def _upload(url: str, pdf: bytes) -> str:
    """Store the document of a new user. Returns the path to which its link redirects."""
    ana = register(url, "ana")
    document = {"documentType": "other", "name": "Ticket", "mimeType": "application/pdf", "fileSize": len(pdf)}
    reserved = ana.post("/v1/wallet/documents:presign", document)
    upload = reserved["upload"]
    with urlopen(Request(url + upload["url"], pdf, method=upload["method"])):
        pass
    token = ana.post("/v1/wallet/documents:complete", {"id": reserved["id"]})["downloadUrl"]
    with urlopen(f"{url}/v1/wallet/files/{token}") as reply:
        return str(reply.url).removeprefix(url)


def transfer(server: Server, path: str, folder: Path, *, connections: int, seconds: float) -> Transfer:
    file = folder / "requests.lua"
    wrk.write([requests.fill(Template("GET", path), "none", {})], file)
    before_s = machine.tree_cpu_seconds(server.pid)
    done = wrk.run(server.url, file, connections=connections, seconds=seconds)
    mib = done.requests * done.reply_bytes / (1 << 20)
    used_s = machine.tree_cpu_seconds(server.pid) - before_s
    return Transfer(done.per_s * done.reply_bytes / (1 << 20), used_s / mib * 1e6)


def measure(rounds: int, seconds: float) -> None:
    measured: dict[tuple[str, int], list[Transfer]] = {}
    with tempfile.TemporaryDirectory(prefix="files-", dir=machine.scratch()) as name:
        folder = Path(name)
        with servers(folder) as compared:
            for _ in range(rounds):
                for connections in CONNECTIONS:
                    for who, (server, path) in compared.items():
                        done = transfer(server, path, folder, connections=connections, seconds=seconds)
                        measured.setdefault((who, connections), []).append(done)
    rows = [
        (
            who,
            str(connections),
            f"{statistics.median(each.mib_per_s for each in done):,.0f}",
            f"{statistics.median(each.cpu_us_per_mib for each in done):,.0f}",
        )
        for (who, connections), done in measured.items()
    ]
    print(table(("download of 4 MiB", "connections", "MiB/s", "CPU µs per MiB"), rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3, help="duration of each run")
    chosen = parser.parse_args()
    try:
        machine.require_linux()
        wrk.require_wrk()
        measure(chosen.rounds, chosen.seconds)
    except CannotMeasure as reason:
        sys.exit(str(reason))


if __name__ == "__main__":
    main()
