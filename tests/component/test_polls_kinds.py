"""Kinds of polls, blind ballots, added options, deadlines and outcomes over HTTP."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from nomadcrew.core.polls.service import close_due
from tests.component.polls import Crew, crew_of
from tests.postgres import Postgres
from tests.world import world

DAYS = [{"firstDay": "2027-01-01", "lastDay": "2027-01-05"}, {"firstDay": "2027-02-28"}]
PLACE = {"latitude": 38.7, "longitude": -9.1, "placeId": "lisbon"}


@pytest_asyncio.fixture(loop_scope="session")
async def crew(postgres: Postgres, template: str, tmp_path: Path) -> AsyncIterator[Crew]:
    environment = {"NOMADCREW_RATE_LIMITS": "off"}
    async with world(postgres, tmp_path, template=template, environment=environment) as made:
        yield await crew_of(made)


def option_ids(poll: Any) -> list[str]:
    return [option["id"] for option in poll["options"]]


async def closed(crew: Crew, *, votes: tuple[int, ...] = (0, 0), by: Any = None, **fields: Any) -> Any:
    """A closed poll in which ana and ben voted for these options."""
    poll = await crew.create(by=by, **{"durationMinutes": 5} | fields)
    for user, option in zip((crew.ana, crew.ben), votes, strict=False):
        assert (await crew.vote(poll, option, by=user)).status == 200
    crew.world.clock.advance(300)
    reply = await crew.send("POST", poll, "/close", by=by)
    assert reply.status == 200, reply.body
    crew.world.clock.advance(-300)
    return reply.json


async def trip(crew: Crew) -> Any:
    return (await crew.world.call("GET", crew.path.removesuffix("/polls"), by=crew.ana)).json


async def test_a_poll_of_dates_shows_answers_and_counts_yes(crew: Crew) -> None:
    poll = await crew.create(kind="dates", options=[], days=DAYS)
    assert [option["text"] for option in poll["options"]] == ["1 Jan 2027 – 5 Jan 2027", "28 Feb 2027"]
    assert (poll["kind"], poll["allowMultipleVotes"], poll["options"][1]["lastDay"]) == (
        "dates",
        True,
        "2027-02-28",
    )
    first, second = option_ids(poll)
    answers = [{"optionId": first, "answer": "ifNeedBe"}, {"optionId": second, "answer": "yes"}]
    assert (await crew.send("PUT", poll, "/ballot", by=crew.ben, answers=answers)).status == 200
    shown = await crew.get(poll, by=crew.ben)
    assert [option["voteCount"] for option in shown["options"]] == [0, 1]
    assert [option["hasVoted"] for option in shown["options"]] == [False, True]
    assert [option["ownAnswer"] for option in shown["options"]] == ["ifNeedBe", "yes"]
    assert shown["options"][0]["answers"] == [
        {"userId": str(crew.ben.id), "createdAt": "2026-11-22T12:00:00Z", "answer": "ifNeedBe"}
    ]
    assert "winners" not in shown


async def test_a_ranked_poll_shows_its_rounds_and_the_winner_at_the_end(crew: Crew) -> None:
    poll = await crew.create(kind="ranked", options=["train", "bus", "boat"])
    train, bus, boat = option_ids(poll)
    for user, order in ((crew.ana, [train, bus]), (crew.ben, [bus, train, boat])):
        assert (await crew.send("PUT", poll, "/ballot", by=user, ranking=order)).status == 200
    shown = await crew.get(poll)
    assert shown["rounds"] == [
        {"counts": [{"optionId": id_, "votes": votes} for id_, votes in ((train, 1), (bus, 1), (boat, 0))],
         "exhausted": 0, "dropped": [boat]},
        {"counts": [{"optionId": train, "votes": 1}, {"optionId": bus, "votes": 1}], "exhausted": 0, "dropped": []},
    ]  # fmt: skip
    assert [option.get("ownRank") for option in shown["options"]] == [1, 2, None]
    assert shown["options"][2]["voters"][0]["rank"] == 3
    done = (await crew.send("POST", poll, "/close")).json
    assert done["winners"] == [train, bus]


async def test_a_blind_poll_hides_votes_until_it_is_closed(crew: Crew) -> None:
    poll = await crew.create(ballot="blind", kind="ranked")
    first, second = option_ids(poll)
    await crew.vote(poll, 0, by=crew.ben)
    for shown in (await crew.get(poll), (await crew.world.call("GET", crew.path, by=crew.ana)).json["data"][0]):
        assert str(crew.ben.id) not in str(shown)
        assert (shown["totalVotes"], shown["userVoteCount"]) == (0, 0)
        assert not shown.keys() & {"rounds", "winners"}
    own = await crew.get(poll, by=crew.ben)
    assert [(option["hasVoted"], option["voteCount"]) for option in own["options"]] == [(True, 0), (False, 0)]
    assert (own["userVoteCount"], own["totalVotes"], own["options"][0]["ownRank"]) == (1, 0, 1)
    await crew.vote(poll, 1)
    done = (await crew.send("POST", poll, "/close")).json
    assert [[voter["userId"] for voter in option["voters"]] for option in done["options"]] == [
        [str(crew.ben.id)], [str(crew.ana.id)],
    ]  # fmt: skip
    assert done["winners"] == [first, second]


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"kind": "dates", "options": [], "days": DAYS[:1]}, "A poll of dates must have 2 to 20 `days`."),
        ({"kind": "dates", "days": DAYS}, "A poll of dates has `days` instead of `options`."),
        ({"days": DAYS}, "Only a poll of dates has `days`."),
        ({"kind": "dates", "options": [], "days": [DAYS[0], DAYS[0]]}, "The `days` must differ."),
        (
            {"kind": "dates", "options": [], "days": [DAYS[1], DAYS[1] | {"lastDay": "2027-02-27"}]},
            "`days[1]` must not end before it starts.",
        ),
        ({"expiresAt": "2026-11-22T12:04:59Z"}, "`expiresAt` must be 5 minutes to 90 days from now."),
        ({"expiresAt": "2027-02-20T12:00:01Z"}, "`expiresAt` must be 5 minutes to 90 days from now."),
        ({"expiresAt": "2026-11-23T12:00:00Z", "durationMinutes": 5}, "Send either `durationMinutes` or"),
    ],
)
async def test_an_invalid_kind_of_poll_is_refused(crew: Crew, fields: dict[str, Any], fault: str) -> None:
    body = {"question": "How?", "options": ["train", "bus"]} | fields
    reply = await crew.world.call("POST", crew.path, by=crew.ana, body=body)
    assert (reply.status, reply.code) == (400, "invalid_poll_data")
    assert fault in reply.json["message"]


async def test_an_end_of_voting_beyond_the_calendar_is_refused(crew: Crew) -> None:
    body = {"question": "How?", "options": ["train", "bus"], "expiresAt": "9999-12-31T23:59:59-23:59"}
    reply = await crew.world.call("POST", crew.path, by=crew.ana, body=body)
    assert (reply.status, reply.code) == (400, "invalid_request_payload")


async def test_malformed_ballots_are_refused(crew: Crew) -> None:
    poll = await crew.create(kind="ranked")
    first, _ = option_ids(poll)
    answers = [{"optionId": first, "answer": "yes"}]
    for body in ({"ranking": [first, first]}, {"answers": answers}, {}, {"answers": answers, "ranking": [first]}):
        reply = await crew.world.call("PUT", f"{crew.path}/{poll['id']}/ballot", by=crew.ana, body=body)
        assert (reply.status, reply.code) == (400, "invalid_ballot")


async def test_members_add_options_if_the_creator_allowed_it(crew: Crew) -> None:
    fixed, poll = await crew.create(), await crew.create(question="And then?", membersAddOptions=True)
    reply = await crew.send("POST", fixed, "/options", text="boat")
    assert (reply.status, reply.code) == (400, "poll_options_fixed")
    reply = await crew.send("POST", poll, "/options", by=crew.ben, text=" boat ")
    assert (reply.status, reply.json["membersAddOptions"]) == (201, True)
    assert [option["text"] for option in reply.json["options"]] == ["train", "bus", "boat"]
    for body in ({"text": " "}, {"text": "x", "firstDay": "2027-01-01"}, {"firstDay": "2027-01-01"}, {}):
        refused = await crew.world.call("POST", f"{crew.path}/{poll['id']}/options", by=crew.ben, body=body)
        assert (refused.status, refused.code) == (400, "invalid_poll_data")
    dates = await crew.create(kind="dates", options=[], days=DAYS, membersAddOptions=True)
    reply = await crew.send("POST", dates, "/options", firstDay="2027-03-02", lastDay="2027-03-01")
    assert (reply.status, reply.code) == (400, "invalid_poll_data")
    reply = await crew.send("POST", dates, "/options", firstDay="2027-03-01", lastDay="2027-03-02")
    assert reply.json["options"][2]["text"] == "1 Mar 2027 – 2 Mar 2027"


@pytest.mark.contract("jobs.poll-expiry")
async def test_a_poll_that_closes_automatically_is_closed_at_its_deadline(crew: Crew) -> None:
    poll = await crew.create(closesAutomatically=True, expiresAt="2026-11-22T13:10:00+01:00", ballot="blind")
    assert (poll["closesAutomatically"], poll["expiresAt"]) == (True, "2026-11-22T12:10:00Z")
    await crew.vote(poll, 1, by=crew.ben)
    crew.world.clock.advance(600)
    before = await crew.get(poll)
    assert (before["status"], before["closedAt"], before["winners"]) == (
        "CLOSED", "2026-11-22T12:10:00Z", [option_ids(poll)[1]],
    )  # fmt: skip
    assert "closedBy" not in before
    assert await close_due(polls=crew.world.ports.polls, now=crew.world.clock()) == 1
    after = await crew.get(poll)
    assert after | {"updatedAt": None} == before | {"updatedAt": None}


async def test_the_winner_becomes_the_dates_of_the_trip_once(crew: Crew) -> None:
    poll = await closed(crew, kind="dates", options=[], days=DAYS)
    first = await crew.send("POST", poll, "/apply", to="dates")
    assert first.json["applied"] == {"to": "dates", "optionId": option_ids(poll)[0], "at": "2026-11-22T12:00:00Z"}
    changed = await trip(crew)
    assert (changed["startDate"], changed["endDate"]) == ("2027-01-01T00:00:00Z", "2027-01-05T00:00:00Z")
    again = await crew.send("POST", poll, "/apply", to="dates")
    assert (again.status, again.json) == (200, first.json)
    other = await crew.send("POST", poll, "/apply", to="todo")
    assert (other.status, other.code) == (409, "poll_applied")


async def test_the_winner_becomes_the_destination_with_its_place(crew: Crew) -> None:
    poll = await closed(crew, options=["Lisbon", "Porto"])
    reply = await crew.send("POST", poll, "/apply", to="destination")
    assert (reply.status, reply.code) == (400, "destination_missing")
    assert (await crew.send("POST", poll, "/apply", to="destination", destination=PLACE)).status == 200
    changed = await trip(crew)
    names = ("destinationName", "destinationLatitude", "destinationAddress", "destinationPlaceId")
    assert [changed[name] for name in names] == ["Lisbon", 38.7, "Lisbon", "lisbon"]


async def test_the_winner_becomes_a_to_do(crew: Crew) -> None:
    poll = await closed(crew, by=crew.ben)
    reply = await crew.send("POST", poll, "/apply", by=crew.ben, to="todo")
    todos = await crew.world.call("GET", crew.path.replace("/polls", "/todos"), by=crew.ana)
    assert [(todo["id"], todo["text"]) for todo in todos.json["data"]] == [
        (reply.json["applied"]["todoId"], "train")
    ]


async def test_only_admins_change_the_trip_by_a_poll(crew: Crew) -> None:
    poll = await closed(crew, by=crew.ben, kind="dates", options=[], days=DAYS)
    reply = await crew.send("POST", poll, "/apply", by=crew.ben, to="dates")
    assert (reply.status, reply.code) == (403, "insufficient_permissions")
    assert (await trip(crew))["startDate"] == "2026-12-01T00:00:00Z"
    assert (await crew.send("POST", poll, "/apply", to="dates")).status == 200


async def test_a_tie_names_its_options_and_is_decided_by_one_of_them(crew: Crew) -> None:
    poll = await closed(crew, votes=(0, 1), options=["train", "bus", "boat"])
    train, bus, boat = option_ids(poll)
    reply = await crew.send("POST", poll, "/apply", to="todo")
    assert (reply.status, reply.code, reply.json["details"]) == (409, "poll_tied", f"tied: {train}, {bus}")
    assert "“train”, “bus”" in reply.json["message"]
    reply = await crew.send("POST", poll, "/apply", to="todo", optionId=boat)
    assert (reply.status, reply.code) == (404, "poll_option_not_found")
    reply = await crew.send("POST", poll, "/apply", to="todo", optionId=bus)
    assert reply.json["applied"]["optionId"] == bus
    reply = await crew.send("POST", poll, "/apply", to="todo", optionId=train)
    assert (reply.status, reply.code) == (409, "poll_applied")


async def test_results_that_cannot_be_applied_are_refused(crew: Crew) -> None:
    open_, empty = await crew.create(question="Open?"), await closed(crew, votes=(), question="Empty?")
    choice = await closed(crew)
    dates = await closed(crew, kind="dates", options=[], days=DAYS)
    for poll, to, expected in (
        (open_, "todo", (409, "poll_open")),
        (empty, "todo", (409, "poll_without_votes")),
        (choice, "dates", (400, "result_does_not_fit")),
        (dates, "destination", (400, "result_does_not_fit")),
    ):
        reply = await crew.send("POST", poll, "/apply", to=to)
        assert (reply.status, reply.code) == expected
