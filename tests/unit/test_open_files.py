"""The limit of open files: raised as far as it goes, and a sentence where that is not far enough."""

import logging
import resource

import pytest

from nomadcrew.hosts.machine.open_files import OTHER_FILES, PROMISED_SOCKETS, allow_open_files

UNLIMITED = resource.RLIM_INFINITY


class System:
    """What a kernel answers: its limits, and the most that may be set."""

    def __init__(self, soft: int, hard: int, most: int) -> None:
        self.soft, self.hard, self.most = soft, hard, most

    def get(self, _what: int) -> tuple[int, int]:
        return self.soft, self.hard

    def set(self, _what: int, limits: tuple[int, int]) -> None:
        soft, hard = limits
        if hard != self.hard or (self.most != UNLIMITED and (soft == UNLIMITED or soft > self.most)):
            raise ValueError("not allowed to raise maximum limit")
        self.soft = soft


@pytest.mark.parametrize(
    ("soft", "hard", "most", "reached"),
    [
        (1_024, 1_048_576, 1_048_576, 1_048_576),
        (256, UNLIMITED, 10_240, 10_240),  # macOS
        (1_024, UNLIMITED, UNLIMITED, UNLIMITED),
        (20_000, 20_000, 20_000, 20_000),
        (8_192, 65_536, 0, 8_192),  # a sandbox that forbids the call
    ],
)
def test_the_limit_is_raised_as_far_as_the_system_lets_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, soft: int, hard: int, most: int, reached: int
) -> None:
    system = System(soft, hard, most)
    monkeypatch.setattr(resource, "getrlimit", system.get)
    monkeypatch.setattr(resource, "setrlimit", system.set)
    with caplog.at_level(logging.WARNING):
        assert allow_open_files() == system.soft == reached
    assert not caplog.records


def test_a_limit_too_low_for_the_promised_sockets_is_said(
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
