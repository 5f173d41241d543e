"""Visibility of positions: every combination of its conditions, against a table."""

import json
from dataclasses import replace
from datetime import timedelta
from itertools import product

import pytest
from msgspec import structs

from nomadcrew.core.ids import UserId, uuid7
from nomadcrew.core.locations.model import Owner, Privacy, Reader, Sharing, StoredPoint
from nomadcrew.core.locations.privacy import VisiblePosition, privacy_when_reported, strictest, visible_position
from tests.fakes import ANA, BEN, NOON

HIDDEN, APPROXIMATE, PRECISE = Privacy.HIDDEN, Privacy.APPROXIMATE, Privacy.PRECISE
LEVELS = (HIDDEN, APPROXIMATE, PRECISE)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
POINT = StoredPoint(41.14961, -8.61099, NOON - HOUR, NOON - HOUR, PRECISE, 5.0, 1.5, 90.0)
EXACT = (41.14961, -8.61099, 5.0, 1.5, 90.0)
ROUNDED = (41.15, -8.61, None, None, None)
READERS = {
    "self": Reader(ANA, NOON - DAY),
    "member": Reader(BEN, NOON - DAY),
    "removed member": Reader(BEN, None),
    "outsider": Reader(UserId(uuid7()), None),
}
# The position that a member sees, by privacy of the report and preference of the profile.
VISIBLE_TO_MEMBERS = {
    (HIDDEN, None): None, (HIDDEN, HIDDEN): None, (HIDDEN, APPROXIMATE): None, (HIDDEN, PRECISE): None,
    (APPROXIMATE, None): ROUNDED, (APPROXIMATE, HIDDEN): None, (APPROXIMATE, APPROXIMATE): ROUNDED,
    (APPROXIMATE, PRECISE): ROUNDED,
    (PRECISE, None): EXACT, (PRECISE, HIDDEN): None, (PRECISE, APPROXIMATE): ROUNDED, (PRECISE, PRECISE): EXACT,
}  # fmt: skip


def an_owner(
    *, preference: Privacy | None = None, ghost: bool = False, sharing: Sharing | None = None, left: bool = False
) -> Owner:
    on = Sharing(is_enabled=True) if sharing is None else sharing
    return Owner(ANA, None if left else NOON - DAY, preference, ghost, on)


def values_of(shown: VisiblePosition | None) -> tuple[float | None, ...] | None:
    if shown is None:
        return None
    return (shown.latitude, shown.longitude, shown.accuracy_m, shown.speed_mps, shown.heading_deg)


@pytest.mark.parametrize("of_track", [False, True], ids=["last", "track"])
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("has_ended", [False, True], ids=["active", "ended"])
@pytest.mark.parametrize("expired", [False, True], ids=["before expiry", "after expiry"])
@pytest.mark.parametrize("ghost", [False, True], ids=["plain", "ghost"])
@pytest.mark.parametrize("preference", [None, *LEVELS], ids=lambda level: level or "unset")
@pytest.mark.parametrize("asked", LEVELS)
def test_visibility_for_all_combinations(
    asked: Privacy,
    preference: Privacy | None,
    ghost: bool,
    expired: bool,
    has_ended: bool,
    reader: str,
    of_track: bool,
) -> None:
    expires_at = NOON if expired else NOON + timedelta(seconds=1)
    owner = an_owner(preference=preference, ghost=ghost, sharing=Sharing(True, None, expires_at))
    expected: tuple[float | None, ...] | None = None
    if reader == "self":
        expected = EXACT
    elif reader == "member" and not (ghost or expired or has_ended):
        expected = VISIBLE_TO_MEMBERS[asked, preference]
    # The result is the same whether a condition applied at the report or applies now.
    then = privacy_when_reported(
        asked, structs.replace(owner, sharing=Sharing(True)), has_ended=has_ended, now=NOON - HOUR
    )
    for stored_under in {asked, then}:
        point = replace(POINT, privacy=stored_under)
        shown = visible_position(point, owner, READERS[reader], has_ended=has_ended, now=NOON, of_track=of_track)
        assert values_of(shown) == expected, stored_under


@pytest.mark.parametrize(("then", "now_"), list(product(LEVELS, LEVELS)))
def test_a_position_is_never_shown_in_more_detail_than_when_reported(then: Privacy, now_: Privacy) -> None:
    shown = visible_position(
        replace(POINT, privacy=then), an_owner(preference=now_), READERS["member"], has_ended=False, now=NOON
    )
    assert (HIDDEN if shown is None else shown.privacy) == strictest(then, now_)


@pytest.mark.parametrize("setting", LEVELS)
def test_the_setting_of_a_trip_is_combined_with_the_others(setting: Privacy) -> None:
    owner = an_owner(sharing=Sharing(True, setting))
    shown = visible_position(POINT, owner, READERS["member"], has_ended=False, now=NOON)
    assert (HIDDEN if shown is None else shown.privacy) == setting
    assert privacy_when_reported(PRECISE, owner, has_ended=False, now=NOON) == setting


@pytest.mark.parametrize(
    "sharing", [None, Sharing(False), Sharing(True, None, NOON), Sharing(False, None, NOON + HOUR)], ids=repr
)
def test_an_unshared_position_is_visible_to_its_owner_only(sharing: Sharing | None) -> None:
    owner = Owner(ANA, NOON - DAY, None, False, sharing)
    assert visible_position(POINT, owner, READERS["member"], has_ended=False, now=NOON) is None
    assert values_of(visible_position(POINT, owner, READERS["self"], has_ended=False, now=NOON)) == EXACT
    assert privacy_when_reported(PRECISE, owner, has_ended=False, now=NOON) is HIDDEN


def test_a_former_member_is_hidden_from_all_members() -> None:
    assert visible_position(POINT, an_owner(left=True), READERS["member"], has_ended=False, now=NOON) is None
    assert visible_position(POINT, an_owner(left=True), Reader(ANA, None), has_ended=False, now=NOON) is None


def test_a_returning_member_shows_no_earlier_positions() -> None:
    owner = structs.replace(an_owner(), joined_at=NOON - timedelta(minutes=1))
    assert visible_position(POINT, owner, READERS["member"], has_ended=False, now=NOON) is None
    late = replace(POINT, received_at=NOON)
    assert visible_position(late, owner, READERS["member"], has_ended=False, now=NOON) is not None


def test_a_track_starts_when_its_viewer_joined_and_a_last_position_does_not() -> None:
    new_member = Reader(BEN, NOON - timedelta(minutes=1))
    assert visible_position(POINT, an_owner(), new_member, has_ended=False, now=NOON, of_track=True) is None
    assert visible_position(POINT, an_owner(), new_member, has_ended=False, now=NOON) is not None


def test_a_last_position_is_hidden_after_a_day_and_a_track_is_not() -> None:
    old = replace(POINT, recorded_at=NOON - DAY, received_at=NOON - DAY)
    fresh = replace(old, recorded_at=NOON - DAY + timedelta(microseconds=1))
    owner = structs.replace(an_owner(), joined_at=NOON - 9 * DAY)
    assert visible_position(old, owner, READERS["member"], has_ended=False, now=NOON) is None
    assert visible_position(fresh, owner, READERS["member"], has_ended=False, now=NOON) is not None
    long_time_member = Reader(BEN, NOON - 9 * DAY)
    assert visible_position(old, owner, long_time_member, has_ended=False, now=NOON, of_track=True) is not None
    assert values_of(visible_position(old, owner, READERS["self"], has_ended=False, now=NOON)) == EXACT


@pytest.mark.contract("rest-activity.locations.fix-rounded")
def test_an_approximate_position_has_two_decimals_everywhere() -> None:
    for latitude, longitude in ((0.0, 0.0), (-33.868_82, 151.209_29), (89.999, -179.999), (1.005, -1.005)):
        point = replace(POINT, latitude=latitude, longitude=longitude, privacy=APPROXIMATE)
        shown = visible_position(point, an_owner(), READERS["member"], has_ended=False, now=NOON)
        assert shown is not None
        for value in (shown.latitude, shown.longitude):
            assert len(json.dumps(value).partition(".")[2]) <= 2
        assert abs(shown.latitude - latitude) <= 0.005_000_1


def test_an_unset_preference_changes_nothing() -> None:
    assert strictest(None, None) is PRECISE
    assert strictest(None, APPROXIMATE, PRECISE) is APPROXIMATE
    assert strictest(HIDDEN, PRECISE) is HIDDEN
