"""A listener of the fan-out records each message once, although a notification repeats its text."""

import asyncio
from collections.abc import Iterator

import pytest

from bench.listeners import Listener, Receiver

MARKER = b"~1~"


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def listener(receiver: Receiver) -> Iterator[Listener]:
    loop = asyncio.new_event_loop()
    opened: asyncio.Future[None] = loop.create_future()
    listener = Listener(b"", receiver, opened)
    listener.data_received(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    assert opened.done()
    yield listener
    loop.close()


def test_the_frames_of_a_message_and_its_notification_count_once(listener: Listener, receiver: Receiver) -> None:
    receiver.before_write(MARKER, 2)
    listener.data_received(b'{"content":"~1~"}')
    listener.data_received(b'{"messagePreview":"~1~"}')
    assert len(receiver.received_s) == 1


def test_a_marker_in_two_parts_is_found(listener: Listener, receiver: Receiver) -> None:
    receiver.before_write(MARKER, 2)
    listener.data_received(b'{"content":"~1')
    listener.data_received(b'~"}')
    assert len(receiver.received_s) == 1


def test_the_next_message_counts_again(listener: Listener, receiver: Receiver) -> None:
    for marker in (MARKER, b"~2~"):
        receiver.before_write(marker, 2)
        listener.data_received(b'{"content":"' + marker + b'"}')
        assert len(receiver.received_s) == 1
