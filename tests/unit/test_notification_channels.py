"""Who is told what, and how: the decision as a table."""

import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest

from nomadcrew.core.errors import Invalid
from nomadcrew.core.notifications.preferences import (
    ChatLevel,
    Kind,
    Preferences,
    QuietHours,
    TripPreferences,
    channels,
)
from tests.fakes import NOON

L, S, P = "list", "socket", "push"
KEPT, PASSING, NOTHING = {L, S, P}, {S, P}, set[str]()
# Per kind: as it is, push off, in-app off, muted trip, quiet hours, and its own switch off.
TABLE: dict[Kind, tuple[set[str], ...]] = {
    Kind.INVITATION: (KEPT, {L, S}, {L, S, P}, KEPT, {L, S}, KEPT),
    Kind.OWN: (KEPT, {L, S}, {P}, NOTHING, {L, S}, KEPT),
    Kind.TRIP: (KEPT, {L, S}, {P}, NOTHING, {L, S}, NOTHING),
    Kind.TODO: (KEPT, {L, S}, {P}, NOTHING, {L, S}, NOTHING),
    Kind.LOCATION: (KEPT, {L, S}, {P}, NOTHING, {L, S}, NOTHING),
    Kind.CHAT: (PASSING, {S}, {P}, NOTHING, {S}, NOTHING),
    Kind.ARRIVAL: (PASSING, {S}, {P}, NOTHING, {S}, NOTHING),
}
NOW_QUIET = QuietHours(time(11), time(13), "UTC")
OFF = Preferences(trip_updates=False, todos=False, location_sharing=False, arrivals=False, chat=ChatLevel.NONE)


@pytest.mark.parametrize("kind", Kind)
def test_how_somebody_is_told(kind: Kind) -> None:
    nothing_said, muted = TripPreferences(), TripPreferences(muted_until=NOON + timedelta(seconds=1))
    found = [
        channels(kind, Preferences(), nothing_said, NOON),
        channels(kind, Preferences(push=False), nothing_said, NOON),
        channels(kind, Preferences(in_app=False), nothing_said, NOON),
        channels(kind, Preferences(), muted, NOON),
        channels(kind, Preferences(quiet_hours=NOW_QUIET), nothing_said, NOON),
        channels(kind, OFF, nothing_said, NOON),
    ]
    assert tuple(found) == TABLE[kind]


def test_nothing_is_left_of_somebody_who_wants_nothing() -> None:
    silent = Preferences(push=False, in_app=False)
    assert {kind for kind in Kind if channels(kind, silent, TripPreferences(), NOON)} == {Kind.INVITATION}


def test_a_mute_ends() -> None:
    muted = TripPreferences(muted_until=NOON)
    assert channels(Kind.TRIP, Preferences(), muted, NOON) == KEPT
    assert channels(Kind.TRIP, Preferences(), muted, NOON - timedelta(seconds=1)) == NOTHING


ALL, MENTIONS, NONE = ChatLevel.ALL, ChatLevel.MENTIONS, ChatLevel.NONE


@pytest.mark.parametrize(
    ("everywhere", "here", "said", "mentioned"),
    [
        (ALL, None, True, True), (MENTIONS, None, False, True), (NONE, None, False, False),
        (ALL, MENTIONS, False, True), (ALL, NONE, False, False), (MENTIONS, ALL, True, True),
        (MENTIONS, NONE, False, False), (NONE, ALL, True, True), (NONE, MENTIONS, False, True),
    ],
)  # fmt: skip
def test_how_much_of_a_chat_gets_through(
    everywhere: ChatLevel, here: ChatLevel | None, said: bool, mentioned: bool
) -> None:
    wanted, trip = Preferences(chat=everywhere), TripPreferences(chat=here)
    assert bool(channels(Kind.CHAT, wanted, trip, NOON)) is said
    assert bool(channels(Kind.CHAT, wanted, trip, NOON, mentioned=True)) is mentioned


def test_not_even_a_mention_gets_through_to_a_muted_trip() -> None:
    muted = TripPreferences(muted_until=NOON + timedelta(days=1), chat=ALL)
    assert channels(Kind.CHAT, Preferences(), muted, NOON, mentioned=True) == NOTHING


NIGHT = QuietHours.parse("22:00", "07:00", "Europe/Lisbon")


@pytest.mark.parametrize(
    ("hours", "moment", "quiet"),
    [
        # Lisbon is an hour ahead of UTC in summer, and not in winter.
        (NIGHT, datetime(2026, 7, 1, 20, 59, tzinfo=UTC), False),
        (NIGHT, datetime(2026, 7, 1, 21, 0, tzinfo=UTC), True),
        (NIGHT, datetime(2026, 7, 2, 5, 59, tzinfo=UTC), True),
        (NIGHT, datetime(2026, 7, 2, 6, 0, tzinfo=UTC), False),
        (NIGHT, datetime(2026, 12, 1, 21, 30, tzinfo=UTC), False),
        (NIGHT, datetime(2026, 12, 1, 22, 0, tzinfo=UTC), True),
        (NIGHT, datetime(2026, 12, 2, 6, 59, tzinfo=UTC), True),
        (QuietHours.parse("13:00", "15:00", "Asia/Kathmandu"), datetime(2026, 7, 1, 7, 15, tzinfo=UTC), True),
        (QuietHours.parse("13:00", "15:00", "Asia/Kathmandu"), datetime(2026, 7, 1, 9, 15, tzinfo=UTC), False),
    ],
)
def test_quiet_hours_go_by_the_clock_on_the_wall(hours: QuietHours, moment: datetime, quiet: bool) -> None:
    assert hours.hold(moment) is quiet


@pytest.fixture
def no_zones() -> Iterator[None]:
    """A machine that has no files of time zones, such as a small container."""
    zoneinfo.reset_tzpath(to=())
    zoneinfo.ZoneInfo.clear_cache()
    yield
    zoneinfo.reset_tzpath()
    zoneinfo.ZoneInfo.clear_cache()


@pytest.mark.usefixtures("no_zones")
def test_quiet_hours_need_no_time_zones_of_the_machine() -> None:
    hours = QuietHours.parse("22:00", "07:00", "Europe/Lisbon")
    assert hours.hold(datetime(2026, 7, 1, 21, 0, tzinfo=UTC))
    assert not hours.hold(datetime(2026, 12, 1, 21, 0, tzinfo=UTC))


@pytest.mark.parametrize(
    ("start", "end", "zone", "code"),
    [
        ("24:00", "07:00", "UTC", "invalid_quiet_hours"), ("22:60", "07:00", "UTC", "invalid_quiet_hours"),
        ("9:00", "07:00", "UTC", "invalid_quiet_hours"), ("22:00:00", "07:00", "UTC", "invalid_quiet_hours"),
        ("٢٢:00", "07:00", "UTC", "invalid_quiet_hours"), ("07:00", "07:00", "UTC", "invalid_quiet_hours"),
        ("22:00", "07:00", "Mars/Olympus", "invalid_time_zone"), ("22:00", "07:00", "", "invalid_time_zone"),
        ("22:00", "07:00", "../../etc/passwd", "invalid_time_zone"),
        ("22:00", "07:00", "Europe", "invalid_time_zone"),
        ("22:00", "07:00", "/etc/localtime", "invalid_time_zone"),
        ("22:00", "07:00", "ä\ud800", "invalid_time_zone"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("has_zones", [True, False], ids=["zones of the machine", "a machine without any"])
def test_quiet_hours_that_cannot_be_are_refused(
    start: str, end: str, zone: str, code: str, has_zones: bool, request: pytest.FixtureRequest
) -> None:
    if not has_zones:
        request.getfixturevalue("no_zones")
    with pytest.raises(Invalid) as refused:
        QuietHours.parse(start, end, zone)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        ({}, Preferences()),
        ({"notifications": None, "notificationDetails": 7}, Preferences()),
        # What the shipped app stores.
        (
            {"notifications": {"push": True, "email": True, "tripUpdates": True, "chatMessages": True}},
            Preferences(),
        ),
        (
            {"notifications": {"push": False, "email": False, "tripUpdates": False, "chatMessages": False}},
            Preferences(push=False, email=False, trip_updates=False, chat=NONE),
        ),
        ({"notifications": {"push": "no", "chatMessages": 0}}, Preferences()),
        # What it leaves alone.
        (
            {"notificationDetails": {
                "inApp": False, "chat": "mentions", "todos": False, "locationSharing": False, "arrivals": False,
                "quietHours": {"start": "22:00", "end": "07:00", "timeZone": "Europe/Lisbon"},
            }},
            Preferences(in_app=False, chat=MENTIONS, todos=False, location_sharing=False, arrivals=False,
                        quiet_hours=NIGHT),
        ),
        ({"notifications": {"chatMessages": False}, "notificationDetails": {"chat": "mentions"}},
         Preferences(chat=NONE)),
        ({"notificationDetails": {"chat": "none", "quietHours": {"start": "22:00"}}}, Preferences()),
        ({"notificationDetails": {"quietHours": {"start": "1", "end": 2, "timeZone": []}}}, Preferences()),
    ],
)  # fmt: skip
def test_what_clients_stored_is_understood_as_far_as_it_can_be(kept: dict[str, Any], expected: Preferences) -> None:
    assert Preferences.read(kept) == expected
