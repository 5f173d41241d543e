"""`make bench`, second part: the time from INIT of each function to its first reply, compared with typical stacks.

Every start is a fresh interpreter with compiled modules, on a real PostgreSQL behind the Data API (SQLAlchemy
connects directly), in rounds over all cases. Our functions come from the deployed packages, the typical stacks from
their installation. The input is a recorded event of API Gateway; the reply must be a success.
"""

import argparse
import asyncio
import hashlib
import hmac
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import zipfile
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg

from bench import machine
from bench.machine import CannotMeasure
from bench.report import RESULTS, table
from bench.services import services
from bench.world import Person, World, fill, sqlalchemy_url
from nomadcrew.adapters.aws.sdk.config import AwsConfig, variable
from nomadcrew.adapters.machine.invitation_links import SignedInvitationLinks
from nomadcrew.core.ids import InvitationId, TripId, UserId, uuid7
from nomadcrew.core.invitations.model import Invitation

POWERTOOLS, FASTAPI = "bench.cold_powertools", "bench.cold_fastapi"
# The environment with the packaging tools.
PACKER = machine.REPOSITORY / ".venv" / "bin" / "python"
LIMITS = {POWERTOOLS: 4, FASTAPI: 6}  # our time must be at most this fraction of samples: 1/4, 1/6


@dataclass(frozen=True, slots=True)
class Start:
    """One cold start. `init_ms` is the import alone; `reply_ms` and `cpu_ms` run to the first reply."""

    status: int
    body_bytes: int
    init_ms: float
    reply_ms: float
    cpu_ms: float
    modules: int
    rss_mib: float


@dataclass(frozen=True, slots=True)
class Case:
    """A cold start to measure. `compiled=False`: the zip has sources only, as most zips do.

    A function's folder is read-only, so such sources are compiled at every start.
    """

    module: str
    event: dict[str, Any]
    compiled: bool = True

    @property
    def name(self) -> str:
        return self.module if self.compiled else f"{self.module}, sources only"

    @property
    def is_ours(self) -> bool:
        return self.module not in LIMITS


def event(route: str, path: str, caller: Person, **params: str) -> dict[str, Any]:
    """The event of API Gateway's HTTP API (payload 2.0) for a signed-in client's request."""
    method = route.partition(" ")[0]
    return {
        "version": "2.0",
        "routeKey": route,
        "rawPath": path,
        "rawQueryString": "",
        "headers": {
            "accept": "application/json",
            "accept-encoding": "gzip",
            "authorization": "Bearer verified-by-the-gateway",
            "content-length": "0",
            "host": "api.test",
            "user-agent": "okhttp/4.12.0",
            "x-amzn-trace-id": "Root=1-6921c5a1-2f0e8a5b1f6b9d7c3a4e5f60",
            "x-forwarded-for": "203.0.113.9",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
        },
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "a1b2c3d4e5",
            "authorizer": {"jwt": {"claims": {"sub": str(caller.id), "exp": "4102444800"}, "scopes": None}},
            "domainName": "api.test",
            "domainPrefix": "api",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.9",
                "userAgent": "okhttp/4.12.0",
            },
            "requestId": "Ufh2fjZMliAEJtA=",
            "routeKey": route,
            "stage": "$default",
            "time": "22/Nov/2026:12:00:00 +0000",
            "timeEpoch": 1795348800000,
        },
        "pathParameters": params,
        "isBase64Encoded": False,
    }


def cases(world: World, invitation_token: str) -> list[Case]:
    """A read request for each API function, and the trip list for the typical stacks."""
    caller = world.people[0]
    trip = str(world.trips[0][0])
    trips = event("GET /v1/trips", "/v1/trips", caller)

    def in_trip(resource: str) -> dict[str, Any]:
        return event(f"GET /v1/trips/{{id}}/{resource}", f"/v1/trips/{trip}/{resource}", caller, id=trip)

    page = event("GET /invite/accept/{token}", f"/invite/accept/{invitation_token}", caller, token=invitation_token)
    return [
        Case("nomadcrew.hosts.aws.functions.auth", event("GET /v1/auth/validate", "/v1/auth/validate", caller)),
        Case("nomadcrew.hosts.aws.functions.users", event("GET /v1/users/me", "/v1/users/me", caller)),
        Case("nomadcrew.hosts.aws.functions.trips", trips),
        Case("nomadcrew.hosts.aws.functions.members", in_trip("members")),
        Case("nomadcrew.hosts.aws.functions.invitations", in_trip("invitations")),
        Case("nomadcrew.hosts.aws.functions.todos", in_trip("todos")),
        Case(
            "nomadcrew.hosts.aws.functions.notifications",
            event("GET /v1/notifications", "/v1/notifications", caller),
        ),
        Case("nomadcrew.hosts.aws.functions.pages", page),
        Case(POWERTOOLS, trips),
        Case(FASTAPI, trips),
        Case(POWERTOOLS, trips, compiled=False),
        Case(FASTAPI, trips, compiled=False),
    ]


async def invite(world: World) -> str:
    """Create an invitation to the first trip; returns the token of its link."""
    now = datetime.now(UTC)
    invitation = Invitation(
        id=InvitationId(uuid7()), trip_id=TripId(world.trips[0][0]), inviter_id=UserId(world.people[0].id),
        invitee_id=None, invitee_email="new@example.org", role="MEMBER", status="PENDING",
        expires_at=now + timedelta(days=7), created_at=now, updated_at=now,
    )  # fmt: skip
    connection = await asyncpg.connect(**world.connect)
    try:
        await connection.execute(
            """INSERT INTO trip_invitations (id, trip_id, inviter_id, invitee_email, role, status, expires_at,
                                             mailed_at, mail_event_id, created_at, updated_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $8, $8)""",
            invitation.id, invitation.trip_id, invitation.inviter_id, invitation.invitee_email, invitation.role,
            invitation.status, invitation.expires_at, now, uuid7(),
        )  # fmt: skip
    finally:
        await connection.close()
    key = hmac.digest(b"k" * 64, b"invitations", hashlib.sha256).hex()
    return SignedInvitationLinks((key,)).issue(invitation, now=now)


def packages(folder: Path) -> Path:
    """All functions' packages, unpacked, built for this interpreter.

    Raises:
        CannotMeasure: the packages cannot be built.
    """
    arch = "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    run = subprocess.run(
        [PACKER, "-m", "infrastructure.package", "--stage", "rehearsal", "--arch", arch, "--python", version],
        capture_output=True, text=True, check=False, cwd=machine.REPOSITORY,
    )  # fmt: skip
    if run.returncode:
        raise CannotMeasure(f"The packages cannot be built; `make test` installs the tools: {run.stderr}")
    # The last line of the output has the folder.
    for path in (machine.REPOSITORY / run.stdout.split()[-1]).glob("*.zip"):
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder / path.stem)
    return folder


def start(case: Case, environment: dict[str, str], tasks: Path) -> Start:
    """Run one cold start.

    Raises:
        CannotMeasure: it failed or was refused.
    """
    command, modules = [sys.executable], [str(machine.REPOSITORY)]
    if case.is_ours:
        command.append("-S")  # without site-packages
        modules.insert(0, str(tasks / case.module.rpartition(".")[2]))
    if not case.compiled:
        environment = environment | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPYCACHEPREFIX": str(tasks / "nowhere")}
    run = subprocess.run(
        [*command, "-m", "bench.cold_probe", case.module],
        input=json.dumps(case.event), capture_output=True, text=True, check=False,
        env={**environment, "PYTHONPATH": ":".join(modules)}, cwd=machine.REPOSITORY,
    )  # fmt: skip
    if run.returncode:
        raise CannotMeasure(f"{case.module} did not start: {run.stderr}")
    result = Start(**json.loads(run.stdout.splitlines()[-1]))
    if result.status != 200:
        raise CannotMeasure(f"{case.module} answered {result.status}: {run.stdout}")
    return result


def environment_of(world: World, url: str, compiled: Path) -> dict[str, str]:
    """The environment of Lambda and of the infrastructure; services answer at `url`.

    The first round compiles all modules into `compiled`.
    """
    foreign = ("NOMADCREW_", "AWS_", "PYTHON")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {
        **inherited,
        "PYTHONPYCACHEPREFIX": str(compiled),
        "AWS_LAMBDA_FUNCTION_NAME": "bench",
        "AWS_ENDPOINT_URL": url,
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        **{variable(name): "x" for name in AwsConfig.__struct_fields__},
        "NOMADCREW_RATE_LIMITS": "",
        "NOMADCREW_AWS_SQL": "data-api",
        "NOMADCREW_AWS_CACHE": "dynamodb",
        "NOMADCREW_AWS_FLAGS": "application/environment/profile",
        "NOMADCREW_AWS_USER_POOL_ID": "eu-west-1_bench",
        "NOMADCREW_AWS_DATABASE": str(world.connect["database"]),
        "NOMADCREW_PUBLIC_URL": "https://api.test",
        "COLD_SQLALCHEMY_URL": sqlalchemy_url(world.connect),
    }


def measure(rounds: int) -> dict[str, list[Start]]:
    """The starts of every case, round by round, after one round that fills file caches and compiles modules."""
    starts: dict[str, list[Start]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cold-", dir=machine.scratch())))
        stack.enter_context(machine.nomadcrew(folder / "home"))
        world = asyncio.run(fill(folder / "home"))
        environment = environment_of(world, stack.enter_context(services(world.connect)), folder / "compiled")
        tasks = packages(folder / "tasks")
        todo = cases(world, asyncio.run(invite(world)))
        for number in range(rounds + 1):
            for case in todo:
                result = start(case, environment, tasks)
                if number:
                    starts.setdefault(case.name, []).append(result)
            print(".", end="", flush=True)
    print(flush=True)
    return starts


def median(starts: list[Start]) -> Start:
    return Start(*(statistics.median(getattr(s, f.name) for s in starts) for f in fields(Start)))


def report(starts: dict[str, list[Start]]) -> str:
    """The table, with each function's fraction of the typical stacks and a verdict."""
    medians = {module: median(samples) for module, samples in starts.items()}
    rows = []
    for module, ours in medians.items():
        row = [
            module,
            f"{ours.init_ms:.0f}",
            f"{ours.reply_ms:.0f}",
            f"{min(s.reply_ms for s in starts[module]):.0f}",
        ]
        row += [f"{ours.cpu_ms:.0f}", f"{ours.modules:.0f}", f"{ours.rss_mib:.0f}"]
        for other, limit in LIMITS.items():
            for figure in ("init_ms", "reply_ms"):
                row.append(_share(module, getattr(ours, figure), getattr(medians[other], figure), limit))
        rows.append(row)
    shares = [
        f"{figure} of {other} (≤ 1/{limit})" for other, limit in LIMITS.items() for figure in ("INIT", "reply")
    ]
    return table(("module", "INIT ms", "to reply ms", "least", "CPU ms", "modules", "RSS MiB", *shares), rows)


def _share(module: str, ours_ms: float, other_ms: float, limit: int) -> str:
    if module.startswith(tuple(LIMITS)):
        return ""
    parts = other_ms / ours_ms
    return f"1/{parts:.1f} {'ok' if parts >= limit else 'OVER'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=11, help="number of starts per case")
    chosen = parser.parse_args()
    try:
        machine.require_linux()
        starts = measure(chosen.rounds)
    except CannotMeasure as reason:
        sys.exit(str(reason))
    commit, now = machine.commit(), datetime.now(UTC)
    text = (
        f"# Cold starts, measured {now:%Y-%m-%d %H:%M} UTC at {commit}\n\n{machine.description()}. Medians of "
        f"{chosen.rounds} interleaved starts, the interpreter's own start left out.\n\n{report(starts)}\n"
    )
    RESULTS.mkdir(exist_ok=True)
    name = f"{now:%Y-%m-%d}-{commit}-cold"
    (RESULTS / f"{name}.md").write_text(text)
    data = {module: [asdict(s) for s in samples] for module, samples in starts.items()}
    (RESULTS / f"{name}.json").write_text(json.dumps(data, indent=1) + "\n")
    print(text)


if __name__ == "__main__":
    main()
