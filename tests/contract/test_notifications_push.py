"""`Push` with Expo's adapter against a fake of Expo's API."""

from collections.abc import Iterator

import pytest

from nomadcrew.adapters.http.breaker import Breaker
from nomadcrew.adapters.http.expo import ExpoPush
from nomadcrew.adapters.noop import NoPush
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.notifications.push import PushError, PushMessage, PushRefused, Ticket
from tests.expo import GONE, TOO_FAST, Expo, expo, failed


@pytest.fixture
def service() -> Iterator[Expo]:
    with expo() as running:
        yield running


def no_token() -> None:
    return None


@pytest.fixture
def push(service: Expo) -> ExpoPush:
    return ExpoPush(service.url, no_token, timeout_s=2)


def to(*tokens: str) -> list[PushMessage]:
    return [PushMessage(token, "Trip updated", "Ana updated Porto", {"type": "TRIP_UPDATED"}) for token in tokens]


@pytest.mark.contract("jobs.push.request")
async def test_a_message_is_sent_as_by_the_monolith(push: ExpoPush, service: Expo) -> None:
    assert await push.send(to("a")) == [Ticket("ticket of a")]
    assert service.messages == [
        {
            "to": "a", "title": "Trip updated", "body": "Ana updated Porto", "data": {"type": "TRIP_UPDATED"},
            "sound": "default", "priority": "high",
        }
    ]  # fmt: skip
    assert "authorization" not in service.headers[0]


async def test_tickets_are_in_the_order_of_messages_and_hold_errors(push: ExpoPush, service: Expo) -> None:
    service.errors = {"b": GONE, "c": TOO_FAST, "d": "MessageTooBig"}
    assert await push.send(to("a", "b", "c", "d")) == [
        Ticket("ticket of a"),
        Ticket(error=PushError.GONE),
        Ticket(error=PushError.LATER),
        Ticket(error=PushError.REFUSED),
    ]


async def test_a_message_of_another_project_is_isolated_and_the_others_are_sent(
    push: ExpoPush, service: Expo
) -> None:
    service.foreign = {"c"}
    tickets = await push.send(to("a", "b", "c", "d", "e"))
    assert [ticket.id for ticket in tickets] == [f"ticket of {x}" if x != "c" else None for x in "abcde"]
    assert tickets[2].error is PushError.REFUSED


@pytest.mark.contract("jobs.push.fix-retry")
@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_server_error_is_an_outage(push: ExpoPush, service: Expo, status: int) -> None:
    service.statuses = [status]
    with pytest.raises(Unavailable) as outage:
        await push.send(to("a"))
    assert outage.value.details == f"expo: {status}"
    assert await push.send(to("a")) == [Ticket("ticket of a")]


@pytest.mark.parametrize("garbage", [b"", b"<html>", b'{"data":[]}', b'{"data":[{"status":"maybe"}]}', b"[1]"])
async def test_an_unreadable_reply_is_an_outage(push: ExpoPush, service: Expo, garbage: bytes) -> None:
    service.garbage = garbage
    with pytest.raises(Unavailable):
        await push.send(to("a"))


async def test_a_timeout_is_an_outage(service: Expo) -> None:
    service.delay_s = 0.5
    with pytest.raises(Unavailable) as outage:
        await ExpoPush(service.url, no_token, timeout_s=0.1).send(to("a"))
    assert outage.value.details == "TimeoutError"


async def test_a_missing_service_is_an_outage() -> None:
    with expo() as stopped:
        push = ExpoPush(stopped.url, no_token)
    with pytest.raises(Unavailable):
        await push.send(to("a"))


@pytest.mark.contract("jobs.push.fix-retry")
async def test_an_access_token_is_sent_and_a_wrong_one_is_a_permanent_failure(service: Expo) -> None:
    service.access_token = "right"
    assert await ExpoPush(service.url, lambda: "right").send(to("a")) == [Ticket("ticket of a")]
    with pytest.raises(PushRefused):
        await ExpoPush(service.url, lambda: "wrong").send(to("a", "b"))
    with pytest.raises(PushRefused):
        await ExpoPush(service.url, lambda: "wrong").receipts(["ticket of a"])


async def test_receipts_hold_the_results_of_messages(push: ExpoPush, service: Expo) -> None:
    service.receipts = {"b": failed(GONE), "c": failed("InvalidCredentials")}
    service.early = {"d"}
    assert await push.receipts(["a", "b", "c", "d"]) == {"a": None, "b": PushError.GONE, "c": PushError.REFUSED}


async def test_the_breaker_opens_after_failures_and_allows_one_attempt_per_pause(service: Expo) -> None:
    now_s = 100.0
    push = ExpoPush(service.url, no_token, breaker=Breaker(failures=2, rest_s=30, monotonic=lambda: now_s))
    service.statuses = [500, 500, 500]
    for _ in range(2):
        with pytest.raises(Unavailable):
            await push.send(to("a"))
    with pytest.raises(Unavailable, match="unavailable"):
        await push.send(to("a"))
    assert len(service.requests) == 2
    now_s += 30
    with pytest.raises(Unavailable):  # the single attempt, which fails
        await push.send(to("a"))
    with pytest.raises(Unavailable):
        await push.send(to("a"))
    assert len(service.requests) == 3
    now_s += 30
    assert await push.send(to("a")) == [Ticket("ticket of a")]
    assert await push.send(to("a")) == [Ticket("ticket of a")]


async def test_permanent_failures_do_not_open_the_breaker(service: Expo) -> None:
    push = ExpoPush(service.url, lambda: "wrong", breaker=Breaker(failures=1))
    service.access_token = "right"
    for _ in range(3):
        with pytest.raises(PushRefused):
            await push.send(to("a"))
    assert len(service.requests) == 3


async def test_repr_hides_a_token(push: ExpoPush) -> None:
    assert "secret" not in repr(to("ExponentPushToken[secret]"))


async def test_without_a_service_nothing_is_sent(service: Expo) -> None:
    assert await NoPush().send(to("a", "b")) == [Ticket(error=PushError.REFUSED)] * 2
    assert await NoPush().receipts(["a"]) == {}
    assert service.requests == []
