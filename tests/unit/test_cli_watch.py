"""The display of `nomadcrew watch`, and the routes of `nomadcrew demo --live`."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from nomadcrew.cli.crew_view import CrewView
from nomadcrew.cli.demo import CREW
from nomadcrew.cli.demo_live import PACE_MPS, SCRIPT, VOTES
from nomadcrew.cli.walks import city
from nomadcrew.core.locations.geometry import distance_m
from nomadcrew.core.locations.model import MAX_SPEED_MPS

NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
GARDEN = {"latitude": 41.1376, "longitude": -8.609, "name": "Jardim do Morro", "radius": 60.0}


def a_view(**given: Any) -> CrewView:
    view = CrewView()
    view.load(
        {"name": "Porto"},
        [
            {"membership": {"userId": "a"}, "user": {"firstName": "Ana", "username": "ana-1"}},
            {"membership": {"userId": "b"}, "user": {"username": "ben-1"}},
        ],
        given.get("positions", []),
        given.get("presence", []),
        given.get("messages", []),
        given.get("meeting_point"),
    )
    return view


def rows(view: CrewView, *, columns: int = 100, now: datetime = NOW) -> list[str]:
    return view.lines(now, columns=columns, colours=False)[3:]


def event(type_: str, **payload: Any) -> dict[str, Any]:
    return {"type": type_, "payload": payload}


def test_members_without_data_are_listed() -> None:
    assert rows(a_view()) == ["Ana    –      –", "ben-1  –      –"]


def test_the_state_of_the_api_is_displayed() -> None:
    view = a_view(
        positions=[{"userId": "a", "location": {"latitude": 41.1459, "longitude": -8.6146}}],
        presence=[
            {"userId": "a", "isOnline": True, "lastSeenAt": "2026-07-01T12:00:00Z"},
            {"userId": "b", "isOnline": False, "lastSeenAt": "2026-07-01T11:18:00Z"},
        ],
        messages=[
            {"sender": {"id": "a"}, "content": "newest"},
            {"sender": {"id": "a"}, "content": "older"},
            {"sender": {"id": "gone"}, "content": "of a former member"},
        ],
        meeting_point=GARDEN,
    )
    assert view.lines(NOW, columns=100, colours=False) == [
        "Porto · meeting at Jardim do Morro",
        "",
        "who    where            to go               last message",
        "Ana    41.1459 -8.6146  1.0 km  online      newest",
        "ben-1  –                –       42 min ago",
    ]


def test_events_update_the_display() -> None:
    view = a_view(meeting_point=GARDEN)
    assert view.take(event("LOCATION_UPDATED", userId="b", location={"latitude": 41.1377, "longitude": -8.6091}))
    assert view.take(event("PRESENCE_CHANGED", userId="b", isOnline=True))
    assert view.take(event("CHAT_MESSAGE_SENT", user={"id": "b"}, content="here!"))
    assert view.take(event("LOCATION_UPDATED", userId="stranger", location={"latitude": 0, "longitude": 0}))
    assert rows(view)[1] == "ben-1  41.1377 -8.6091  there  online  here!"


@pytest.mark.parametrize(
    ("type_", "handled"),
    [("MEMBER_ADDED", False), ("MEETING_POINT_CHANGED", False), ("LOCATION_SHARING_CHANGED", False),
     ("TRIP_UPDATED", False), ("CHAT_MESSAGE_DELETED", False), ("TODO_CREATED", True), ("POLL_CREATED", True)],
)  # fmt: skip
def test_an_event_that_changes_the_crew_requires_a_reload(type_: str, handled: bool) -> None:
    assert a_view().take({"type": type_, "payload": None}) is handled


def test_texts_of_users_cannot_control_the_terminal_and_fit_its_width() -> None:
    view = a_view()
    view.take(event("CHAT_MESSAGE_SENT", user={"id": "a"}, content="\x1b[2Jgone\nnext line " + "x" * 200))
    view.take(event("CHAT_MESSAGE_SENT", user={"id": "b"}, content="渋谷" * 40))
    for line in view.lines(NOW, columns=60, colours=False):
        assert "\x1b" not in line
        assert "\n" not in line
    assert all(len(line) <= 60 for line in rows(view, columns=60))
    assert rows(view, columns=60)[0].endswith("…")


def test_long_absences_are_in_hours_and_days() -> None:
    seen = [{"userId": "a", "isOnline": False, "lastSeenAt": "2026-07-01T12:00:00Z"}]
    shown = [rows(a_view(presence=seen), now=NOW + timedelta(hours=hours))[0] for hours in (0, 5, 72)]
    assert [line.split("–")[-1].strip() for line in shown] == ["0 min ago", "5 h ago", "3 days ago"]


def test_every_demo_member_has_a_route_to_the_meeting_point() -> None:
    porto = city("porto")
    assert [walk.name for walk in porto.walks] == [first for first, _ in CREW]
    for walk in porto.walks:
        assert walk.points[-1] == porto.point
        assert 1_000 < walk.length_m < 5_000
        assert max(distance_m(here, there) for here, there in pairwise(walk.points)) < 200


def test_a_walk_has_an_even_pace_and_stops_at_its_end() -> None:
    walk = city("porto").walks[0]
    positions = [walk.at(walked_m) for walked_m in range(0, int(walk.length_m) + 500, 10)]
    # Routes have bends, so a step of ten metres is at most ten metres as the crow flies.
    assert all(distance_m(here, there) <= 10.1 for here, there in pairwise(positions))
    assert positions[0] == walk.points[0]
    assert positions[-1] == walk.points[-1]


def test_the_fastest_walk_is_below_the_speed_limit() -> None:
    assert max(PACE_MPS) * 100 < MAX_SPEED_MPS


def test_the_script_is_in_order_and_votes_follow_their_candidates() -> None:
    assert [at_s for at_s, *_ in SCRIPT] == sorted(at_s for at_s, *_ in SCRIPT)
    proposed_at = {candidate: at_s for at_s, _, _, candidate in SCRIPT if candidate}
    assert all(at_s > proposed_at[candidate] for at_s, _, candidate in VOTES)
    names = {first for first, _ in CREW}
    assert {name for _, name, *_ in SCRIPT} <= names
    assert {name for _, name, _ in VOTES} <= names
