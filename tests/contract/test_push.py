"""What `Push` promises, kept by Expo's adapter against a service that speaks Expo's API."""

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


async def test_a_message_is_sent_as_the_monolith_sent_it(push: ExpoPush, service: Expo) -> None:
    assert await push.send(to("a")) == [Ticket("ticket of a")]
    assert service.messages == [
        {
            "to": "a", "title": "Trip updated", "body": "Ana updated Porto", "data": {"type": "TRIP_UPDATED"},
            "sound": "default", "priority": "high",
        }
    ]  # fmt: skip
    assert "authorization" not in service.headers[0]


async def test_tickets_come_in_the_order_of_messages_and_say_what_failed(push: ExpoPush, service: Expo) -> None:
    service.errors = {"b": GONE, "c": TOO_FAST, "d": "MessageTooBig"}
    assert await push.send(to("a", "b", "c", "d")) == [
        Ticket("ticket of a"),
        Ticket(error=PushError.GONE),
        Ticket(error=PushError.LATER),
        Ticket(error=PushError.REFUSED),
    ]


async def test_a_message_that_spoils_its_batch_is_found_and_the_others_are_sent(
    push: ExpoPush, service: Expo
) -> None:
    service.foreign = {"c"}
    tickets = await push.send(to("a", "b", "c", "d", "e"))
    assert [ticket.id for ticket in tickets] == [f"ticket of {x}" if x != "c" else None for x in "abcde"]
    assert tickets[2].error is PushError.REFUSED


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_an_outage_is_told_as_one_and_passes(push: ExpoPush, service: Expo, status: int) -> None:
    service.statuses = [status]
    with pytest.raises(Unavailable) as told:
        await push.send(to("a"))
    assert told.value.details == f"expo: {status}"
    assert await push.send(to("a")) == [Ticket("ticket of a")]


@pytest.mark.parametrize("garbage", [b"", b"<html>", b'{"data":[]}', b'{"data":[{"status":"maybe"}]}', b"[1]"])
async def test_an_answer_nobody_can_read_is_an_outage(push: ExpoPush, service: Expo, garbage: bytes) -> None:
    service.garbage = garbage
    with pytest.raises(Unavailable):
        await push.send(to("a"))


async def test_a_service_that_does_not_answer_in_time_is_an_outage(service: Expo) -> None:
    service.delay_s = 0.5
    with pytest.raises(Unavailable) as told:
        await ExpoPush(service.url, no_token, timeout_s=0.1).send(to("a"))
    assert told.value.details == "TimeoutError"


async def test_a_service_that_is_not_there_is_an_outage() -> None:
    with expo() as gone:
        push = ExpoPush(gone.url, no_token)
    with pytest.raises(Unavailable):
        await push.send(to("a"))


async def test_an_access_token_is_sent_and_a_wrong_one_is_nothing_to_repeat(service: Expo) -> None:
    service.access_token = "right"
    assert await ExpoPush(service.url, lambda: "right").send(to("a")) == [Ticket("ticket of a")]
    with pytest.raises(PushRefused):
        await ExpoPush(service.url, lambda: "wrong").send(to("a", "b"))
    with pytest.raises(PushRefused):
        await ExpoPush(service.url, lambda: "wrong").receipts(["ticket of a"])


async def test_receipts_say_what_became_of_messages(push: ExpoPush, service: Expo) -> None:
    service.receipts = {"b": failed(GONE), "c": failed("InvalidCredentials")}
    service.early = {"d"}
    assert await push.receipts(["a", "b", "c", "d"]) == {"a": None, "b": PushError.GONE, "c": PushError.REFUSED}


async def test_after_failures_in_a_row_the_service_is_left_alone_then_tried_once(service: Expo) -> None:
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
    with pytest.raises(Unavailable):  # the one that is let through to see, in vain
        await push.send(to("a"))
    with pytest.raises(Unavailable):
        await push.send(to("a"))
    assert len(service.requests) == 3
    now_s += 30
    assert await push.send(to("a")) == [Ticket("ticket of a")]
    assert await push.send(to("a")) == [Ticket("ticket of a")]


async def test_what_is_refused_for_good_does_not_open_the_breaker(service: Expo) -> None:
    push = ExpoPush(service.url, lambda: "wrong", breaker=Breaker(failures=1))
    service.access_token = "right"
    for _ in range(3):
        with pytest.raises(PushRefused):
            await push.send(to("a"))
    assert len(service.requests) == 3


async def test_a_token_is_shown_to_nobody(push: ExpoPush) -> None:
    assert "secret" not in repr(to("ExponentPushToken[secret]"))


async def test_where_no_service_is_set_nothing_is_sent(service: Expo) -> None:
    assert await NoPush().send(to("a", "b")) == [Ticket(error=PushError.REFUSED)] * 2
    assert await NoPush().receipts(["a"]) == {}
    assert service.requests == []
