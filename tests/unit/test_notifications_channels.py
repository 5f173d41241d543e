"""Channels of notifications by kind and preferences, as a table."""

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
ALL_CHANNELS, NOT_LISTED, NOTHING = {L, S, P}, {S, P}, set[str]()
# By kind: default, push off, in-app off, muted trip, quiet hours, own switch off.
TABLE: dict[Kind, tuple[set[str], ...]] = {
    Kind.INVITATION: (ALL_CHANNELS, {L, S}, {L, S, P}, ALL_CHANNELS, {L, S}, ALL_CHANNELS),
    Kind.OWN: (ALL_CHANNELS, {L, S}, {P}, NOTHING, {L, S}, ALL_CHANNELS),
    Kind.TRIP: (ALL_CHANNELS, {L, S}, {P}, NOTHING, {L, S}, NOTHING),
    Kind.TODO: (ALL_CHANNELS, {L, S}, {P}, NOTHING, {L, S}, NOTHING),
    # A document of the user's own is no matter of a trip.
    Kind.DOCUMENT: (ALL_CHANNELS, {L, S}, {P}, ALL_CHANNELS, {L, S}, NOTHING),
    Kind.POLL: (ALL_CHANNELS, {L, S}, {P}, NOTHING, {L, S}, NOTHING),
    Kind.LOCATION: (ALL_CHANNELS, {L, S}, {P}, NOTHING, {L, S}, NOTHING),
    Kind.CHAT: (NOT_LISTED, {S}, {P}, NOTHING, {S}, NOTHING),
    Kind.ARRIVAL: (NOT_LISTED, {S}, {P}, NOTHING, {S}, NOTHING),
}
NOW_QUIET = QuietHours(time(11), time(13), "UTC")
OFF = Preferences(
    trip_updates=False,
    todos=False,
    polls=False,
    location_sharing=False,
    arrivals=False,
    documents=False,
    chat=ChatLevel.NONE,
)


@pytest.mark.parametrize("kind", Kind)
def test_channels_follow_the_table(kind: Kind) -> None:
    unset, muted = TripPreferences(), TripPreferences(muted_until=NOON + timedelta(seconds=1))
    found = [
        channels(kind, Preferences(), unset, NOON),
        channels(kind, Preferences(push=False), unset, NOON),
        channels(kind, Preferences(in_app=False), unset, NOON),
        channels(kind, Preferences(), muted, NOON),
        channels(kind, Preferences(quiet_hours=NOW_QUIET), unset, NOON),
        channels(kind, OFF, unset, NOON),
    ]
    assert tuple(found) == TABLE[kind]


def test_with_everything_off_only_invitations_are_listed() -> None:
    silent = Preferences(push=False, in_app=False)
    assert {kind for kind in Kind if channels(kind, silent, TripPreferences(), NOON)} == {Kind.INVITATION}


def test_a_mute_expires() -> None:
    muted = TripPreferences(muted_until=NOON)
    assert channels(Kind.TRIP, Preferences(), muted, NOON) == ALL_CHANNELS
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
def test_chat_levels_decide_about_messages_and_mentions(
    everywhere: ChatLevel, here: ChatLevel | None, said: bool, mentioned: bool
) -> None:
    wanted, trip = Preferences(chat=everywhere), TripPreferences(chat=here)
    assert bool(channels(Kind.CHAT, wanted, trip, NOON)) is said
    assert bool(channels(Kind.CHAT, wanted, trip, NOON, mentioned=True)) is mentioned


def test_a_muted_trip_suppresses_mentions_too() -> None:
    muted = TripPreferences(muted_until=NOON + timedelta(days=1), chat=ALL)
    assert channels(Kind.CHAT, Preferences(), muted, NOON, mentioned=True) == NOTHING


NIGHT = QuietHours.parse("22:00", "07:00", "Europe/Lisbon")


@pytest.mark.parametrize(
    ("hours", "moment", "quiet"),
    [
        # In summer, Lisbon is one hour ahead of UTC.
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
def test_quiet_hours_follow_local_time(hours: QuietHours, moment: datetime, quiet: bool) -> None:
    assert hours.hold(moment) is quiet


@pytest.fixture
def no_zones() -> Iterator[None]:
    """A machine without time zone files, such as a small container."""
    zoneinfo.reset_tzpath(to=())
    zoneinfo.ZoneInfo.clear_cache()
    yield
    zoneinfo.reset_tzpath()
    zoneinfo.ZoneInfo.clear_cache()


@pytest.mark.usefixtures("no_zones")
def test_quiet_hours_work_without_time_zone_files() -> None:
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
@pytest.mark.parametrize("has_zones", [True, False], ids=["with time zone files", "without time zone files"])
def test_invalid_quiet_hours_are_refused(
    start: str, end: str, zone: str, code: str, has_zones: bool, request: pytest.FixtureRequest
) -> None:
    if not has_zones:
        request.getfixturevalue("no_zones")
    with pytest.raises(Invalid) as refused:
        QuietHours.parse(start, end, zone)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ({}, Preferences()),
        ({"notifications": None, "notificationDetails": 7}, Preferences()),
        # Values that the shipped app stores.
        (
            {"notifications": {"push": True, "email": True, "tripUpdates": True, "chatMessages": True}},
            Preferences(),
        ),
        (
            {"notifications": {"push": False, "email": False, "tripUpdates": False, "chatMessages": False}},
            Preferences(push=False, email=False, trip_updates=False, chat=NONE),
        ),
        ({"notifications": {"push": "no", "chatMessages": 0}}, Preferences()),
        # Values that the shipped app ignores.
        (
            {"notificationDetails": {
                "inApp": False, "chat": "mentions", "todos": False, "polls": False, "locationSharing": False,
                "arrivals": False,
                "quietHours": {"start": "22:00", "end": "07:00", "timeZone": "Europe/Lisbon"},
            }},
            Preferences(in_app=False, chat=MENTIONS, todos=False, polls=False, location_sharing=False,
                        arrivals=False, quiet_hours=NIGHT),
        ),
        ({"notifications": {"chatMessages": False}, "notificationDetails": {"chat": "mentions"}},
         Preferences(chat=NONE)),
        ({"notificationDetails": {"chat": "none", "quietHours": {"start": "22:00"}}}, Preferences()),
        ({"notificationDetails": {"quietHours": {"start": "1", "end": 2, "timeZone": []}}}, Preferences()),
    ],
)  # fmt: skip
def test_stored_preferences_are_read_and_invalid_values_ignored(
    stored: dict[str, Any], expected: Preferences
) -> None:
    assert Preferences.read(stored) == expected
