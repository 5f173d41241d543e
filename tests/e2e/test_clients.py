"""The published clients: built, and run against a started server over a link that loses things."""

import asyncio
import os
import secrets
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.e2e.client import PASSWORD, WITHIN_S, Api, User
from tests.e2e.lossy_link import LossyLink

pytestmark = pytest.mark.one_machine("the clients register, which is confirmed by mail elsewhere")

CLIENTS = Path(__file__).parents[2] / "clients"
PYTHON, TYPESCRIPT = CLIENTS / "python", CLIENTS / "typescript"
BIN = Path(sys.executable).parent
MISSED = ["Pack", "Lock the door"]


def run(*command: str | Path, folder: Path) -> str:
    """Run a program; return what it prints."""
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built Python client."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, folder=PYTHON)
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def built_typescript() -> Path:
    """The folder of the TypeScript client, built and type-checked with its examples."""
    compiler = TYPESCRIPT / "node_modules" / "typescript" / "bin" / "tsc"
    assert compiler.exists(), "make test installs the compiler"
    run(BIN / "node", compiler, folder=TYPESCRIPT)
    run(BIN / "node", compiler, "-p", "tsconfig.examples.json", folder=TYPESCRIPT)
    return TYPESCRIPT


class Tour:
    """The running example of a client; it prints the type and id of each event that it follows."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        self.events: list[tuple[str, str]] = []
        self._command = command
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            env={**os.environ, "NO_PROXY": "127.0.0.1", **self._environment},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def until(self, type_: str) -> None:
        """Read events up to one of a type."""
        async with asyncio.timeout(WITHIN_S):
            while await self._next() != type_:
                pass

    async def ended(self) -> None:
        """Read the other events, and expect that the program succeeded."""
        assert self._process is not None
        async with asyncio.timeout(WITHIN_S):
            while await self._next():
                pass
            assert await self._process.wait() == 0

    async def _next(self) -> str:
        """The type of the next event, empty at the end."""
        assert self._process is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        line = (await self._process.stdout.readline()).decode().split()
        if not line:
            assert await self._process.wait() == 0, (await self._process.stderr.read()).decode()
            return ""
        self.events.append((line[0], line[1]))
        return line[0]


async def sign_in(api: Api, name: str) -> User:
    reply = await api.send("POST", "/v1/auth/login", json={"username": name, "password": PASSWORD})
    assert reply.status_code == 200, reply.text
    return User.of(api, reply.json())


async def check_tour(command: Sequence[str], environment: dict[str, str], url: str, api: Api) -> None:
    """Run a tour; lose the reply to its trip, then its socket while to-dos are written on another device."""
    name = f"tour-{secrets.token_hex(4)}"
    async with LossyLink(url, lose_reply_to="POST /v1/trips HTTP") as link:
        tour = Tour([*command, link.url, name, PASSWORD], environment)
        await tour.start()
        await tour.until("CHAT_MESSAGE_SENT")
        user = await sign_in(api, name)
        [trip] = await user.ask("GET", "/v1/trips")
        assert link.lost == 1
        link.cut()
        for text in MISSED:
            await user.new_todo(trip["id"], text)
        link.restore()
        await tour.until("TODO_CREATED")
        await user.new_todo(trip["id"], "Home")
        await tour.ended()
    assert [type_ for type_, _ in tour.events].count("TODO_CREATED") == 1 + len(MISSED) + 1
    assert len(set(tour.events)) == len(tour.events)
    stored = [(event["type"], event["id"]) for event in await user.events()]
    assert tour.events == stored


async def test_the_python_client_misses_and_repeats_nothing(wheel: Path, url: str, api: Api) -> None:
    command = [sys.executable, str(PYTHON / "examples" / "tour.py")]
    await check_tour(command, {"PYTHONPATH": str(wheel)}, url, api)


async def test_the_typescript_client_misses_and_repeats_nothing(built_typescript: Path, url: str, api: Api) -> None:
    command = [str(BIN / "node"), str(built_typescript / "examples" / "tour.ts")]
    await check_tour(command, {}, url, api)


def test_the_typescript_client_repeats_and_refreshes(built_typescript: Path) -> None:
    printed = run(BIN / "node", "--test", "test/client.test.mjs", folder=built_typescript)
    assert "fail 0" in printed
    assert "pass 0" not in printed
