"""Preferences in free JSON: known switches are read strictly, and other keys are left alone."""

from typing import Any

import pytest

from nomadcrew.core.errors import Invalid
from nomadcrew.core.notifications.preferences import ChatLevel, Preferences
from nomadcrew.core.users.preferences import checked_preferences

NIGHT = {"start": "22:30", "end": "07:00", "timeZone": "Europe/Lisbon"}


@pytest.mark.parametrize(
    "sent",
    [
        {"ghostMode": "true"}, {"ghostMode": 1}, {"ghostMode": {}}, {"GHOSTMODE": "on"}, {"ghost_mode": 0},
        {"notifications": True}, {"notifications": []}, {"notifications": {"push": "false"}},
        {"notifications": {"Push": 0}}, {"notificationDetails": {"inApp": "no"}},
        {"notificationDetails": {"chat": "sometimes"}}, {"notificationDetails": {"chat": ["all"]}},
        {"notificationDetails": {"quietHours": "night"}},
        {"notificationDetails": {"quietHours": {"start": "22:00"}}},
        {"notificationDetails": {"quietHours": NIGHT | {"timeZone": "Mars"}}},
        {"locationPrivacyPreference": "hidden"}, {"location_privacy_preference": "hidden"},
        {"isSharingEnabled": False}, {"ghostMode": False, "ghost_mode": True}, {"ghost mode ": "on"},
    ],
)  # fmt: skip
def test_a_switch_that_would_have_no_effect_is_refused(sent: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        checked_preferences(sent)


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ({"ghostMode": True}, {"ghostMode": True}),
        ({"GhostMode": True}, {"ghostMode": True}),
        ({"ghost_mode": None}, {"ghostMode": None}),
        ({"ghost mode": True, "ghostMode\u200b": True}, {"ghostMode": True}),
        ({"notifications": {"trip_updates": False, "x": 1}}, {"notifications": {"tripUpdates": False, "x": 1}}),
        ({"notifications": None, "theme": "dark"}, {"notifications": None, "theme": "dark"}),
        ({"Theme": {"ghostMode": 1}}, {"Theme": {"ghostMode": 1}}),
    ],
)
def test_known_keys_get_their_own_spelling(sent: dict[str, Any], read: dict[str, Any]) -> None:
    assert checked_preferences(sent) == read


def test_checked_preferences_are_those_that_notifications_obey() -> None:
    details = {"inApp": False, "chat": "mentions", "todos": None, "quietHours": NIGHT}
    stored = checked_preferences({"notifications": {"push": False}, "notificationDetails": details})
    read = Preferences.read(stored)
    assert (read.push, read.in_app, read.chat, read.todos) == (False, False, ChatLevel.MENTIONS, True)
    assert read.quiet_hours is not None
    assert checked_preferences({"notificationDetails": {"quietHours": None}})
