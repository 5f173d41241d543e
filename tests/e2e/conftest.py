"""One server for all tests that do not harm it, and users on it.

With E2E_URL set, the tests run against that server, except those of the machine host. Sockets connect at
E2E_SOCKETS_URL, E2E_MAIL_URL returns the mails of an emulated SES, and E2E_PUSH_URL is the push service of
`tests.expo` that the server uses. The server must accept registrations and have its rate limits off.
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.client import Api, Socket, User
from tests.e2e.mailbox import EmulatedMailbox, FileMailbox, Mailbox
from tests.e2e.phones import Phones
from tests.e2e.server import LOG_TAIL, Server
from tests.expo import expo
from tests.open_meteo import open_meteo

ELSEWHERE = os.environ.get("E2E_URL", "").rstrip("/")

Register = Callable[..., Awaitable[User]]
Connect = Callable[..., Awaitable[Socket]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items if ELSEWHERE else ():
        for mark in item.iter_markers("one_machine"):
            item.add_marker(pytest.mark.skip(reason=str(mark.args[0])))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the server's log to the report of a failed test."""
    report = yield
    given: dict[str, Any] = getattr(item, "funcargs", {})
    for server in given.values() if report.failed else ():
        if isinstance(server, Server):
            report.sections.append((f"log of {server.url}", server.log[-LOG_TAIL:]))
    return report


@pytest.fixture(scope="session")
def push_url() -> Iterator[str]:
    """The address of the push service."""
    if ELSEWHERE:
        yield os.environ["E2E_PUSH_URL"]
    else:
        with expo() as service:
            yield service.url


@pytest.fixture
def phones(push_url: str) -> Phones:
    return Phones(push_url)


@pytest.fixture(scope="session")
def weather_url() -> Iterator[str]:
    """The address of the weather service, which has answers for any place."""
    with open_meteo() as service:
        yield service.url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server(push_url: str, weather_url: str) -> AsyncIterator[Server]:
    """The server of the session; tests that stop or kill a server start their own."""
    settings = {
        "NOMADCREW_EXPO_URL": push_url,
        "NOMADCREW_WEATHER_URL": weather_url,
        "NOMADCREW_WEBHOOK_NETWORKS": "127.0.0.0/8",
    }
    async with Server(NOMADCREW_RATE_LIMITS="off", **settings) as running:
        yield running
        assert await running.stop() == 0, running.log[-LOG_TAIL:]
        assert running.errors == [], "\n".join(running.errors)


@pytest.fixture(scope="session")
def url(request: pytest.FixtureRequest) -> str:
    return ELSEWHERE or str(request.getfixturevalue("server").url)


@pytest.fixture(scope="session")
def mailbox(request: pytest.FixtureRequest) -> Mailbox:
    if ELSEWHERE:
        return EmulatedMailbox(os.environ["E2E_MAIL_URL"])
    return FileMailbox(request.getfixturevalue("server").mail)


@pytest_asyncio.fixture(loop_scope="session")
async def api(url: str, mailbox: Mailbox) -> AsyncIterator[Api]:
    made = Api(url, sockets=os.environ.get("E2E_SOCKETS_URL"), mailbox=mailbox)
    yield made
    await made.close()


@pytest.fixture
def register(api: Api) -> Register:
    """Registers users: `ana = await register("ana")`."""
    return api.register


@pytest_asyncio.fixture(loop_scope="session")
async def connect() -> AsyncIterator[Connect]:
    """Opens sockets and closes them at the end: `socket = await connect(ana)`."""
    made: list[Socket] = []

    async def connected(user: User, **how: Any) -> Socket:
        made.append(await user.connect(**how))
        return made[-1]

    yield connected
    for socket in made:
        await socket.close()
