"""The limit of open files: raised to the maximum, and a warning if it stays too low."""

import logging
import resource

import pytest

from nomadcrew.hosts.machine.open_files import OTHER_FILES, PROMISED_SOCKETS, allow_open_files

UNLIMITED = resource.RLIM_INFINITY


class System:
    """A fake kernel: its limits, and the highest value that it accepts."""

    def __init__(self, soft: int, hard: int, highest: int) -> None:
        self.soft, self.hard, self.highest = soft, hard, highest

    def get(self, _what: int) -> tuple[int, int]:
        return self.soft, self.hard

    def set(self, _what: int, limits: tuple[int, int]) -> None:
        soft, hard = limits
        if hard != self.hard or (self.highest != UNLIMITED and (soft == UNLIMITED or soft > self.highest)):
            raise ValueError("not allowed to raise maximum limit")
        self.soft = soft


@pytest.mark.parametrize(
    ("soft", "hard", "highest", "reached"),
    [
        (1_024, 1_048_576, 1_048_576, 1_048_576),
        (256, UNLIMITED, 10_240, 10_240),  # macOS
        (1_024, UNLIMITED, UNLIMITED, UNLIMITED),
        (20_000, 20_000, 20_000, 20_000),
        (8_192, 65_536, 0, 8_192),  # a sandbox that forbids the call
    ],
)
def test_the_limit_is_raised_to_the_maximum(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    soft: int,
    hard: int,
    highest: int,
    reached: int,
) -> None:
    system = System(soft, hard, highest)
    monkeypatch.setattr(resource, "getrlimit", system.get)
    monkeypatch.setattr(resource, "setrlimit", system.set)
    with caplog.at_level(logging.WARNING):
        assert allow_open_files() == system.soft == reached
    assert not caplog.records


def test_a_limit_too_low_for_the_promised_sockets_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    system = System(256, 4_096, 4_096)
    monkeypatch.setattr(resource, "getrlimit", system.get)
    monkeypatch.setattr(resource, "setrlimit", system.set)
    with caplog.at_level(logging.WARNING):
        assert allow_open_files() == 4_096
    [line] = caplog.records
    assert str(PROMISED_SOCKETS) in line.getMessage()
    assert line.fields == {"open_files": 4_096, "sockets": 4_096 - OTHER_FILES}  # type: ignore[attr-defined]
