"""Polls over HTTP, as the shipped app sees them."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.component.polls import Crew, crew_of
from tests.postgres import Postgres
from tests.world import world

POLL = {
    "id", "tripId", "question", "status", "allowMultipleVotes", "createdBy", "expiresAt", "createdAt", "updatedAt",
    "options", "totalVotes", "userVoteCount",
}  # fmt: skip
OPTION = {
    "id", "pollId", "text", "position", "createdBy", "createdAt", "voteCount", "voters", "hasVoted"
}  # fmt: skip


@pytest_asyncio.fixture(loop_scope="session")
async def crew(postgres: Postgres, template: str, tmp_path: Path) -> AsyncIterator[Crew]:
    environment = {"NOMADCREW_RATE_LIMITS": "off"}
    async with world(postgres, tmp_path, template=template, environment=environment) as made:
        yield await crew_of(made)


@pytest.mark.contract("rest-activity.polls.fields", "rest-activity.polls.create.duration")
async def test_the_shipped_app_gets_exactly_the_fields_that_it_knows(crew: Crew) -> None:
    poll = await crew.create()
    await crew.vote(poll, 1, by=crew.ben)
    shown = await crew.get(poll)
    assert (shown.keys(), {frozenset(option) for option in shown["options"]}) == (POLL, {frozenset(OPTION)})
    assert shown["options"][1]["voters"] == [{"userId": str(crew.ben.id), "createdAt": "2026-11-22T12:00:00Z"}]
    assert [(o["voteCount"], o["hasVoted"], o["position"]) for o in shown["options"]] == [
        (0, False, 0), (1, False, 1),
    ]  # fmt: skip
    assert (shown["totalVotes"], shown["userVoteCount"], shown["status"]) == (1, 0, "ACTIVE")
    assert shown["expiresAt"] == "2026-11-23T12:00:00Z"
    bens = await crew.get(poll, by=crew.ben)
    assert (bens["userVoteCount"], bens["options"][1]["hasVoted"]) == (1, True)
    await crew.vote(poll, 0)
    closed = await crew.send("POST", poll, "/close")
    assert closed.json.keys() == POLL | {"closedBy", "closedAt"}
    assert closed.json == await crew.get(poll)


@pytest.mark.contract("rest-activity.pages", "rest-activity.pages.envelope", "rest-activity.polls.list")
async def test_a_list_has_the_envelope_and_a_link_to_the_next_page(crew: Crew) -> None:
    made = []
    for number in range(3):
        crew.world.clock.advance(1)
        made.append(await crew.create(question=f"{number}?"))
    reply = await crew.world.call("GET", f"{crew.path}?limit=2", by=crew.ben)
    assert reply.json["pagination"] == {"limit": 2, "offset": 0, "total": 3}
    assert [poll["id"] for poll in reply.json["data"]] == [made[2]["id"], made[1]["id"]]
    link = reply.headers["link"].partition(">")[0].removeprefix("<")
    following = await crew.world.call("GET", link, by=crew.ben)
    assert [poll["id"] for poll in following.json["data"]] == [made[0]["id"]]
    assert "link" not in following.headers
    default = await crew.world.call("GET", f"{crew.path}?limit=0&offset=-1", by=crew.ben)
    assert default.json["pagination"] == {"limit": 20, "offset": 0, "total": 3}


@pytest.mark.contract(
    "rest-activity.polls.create",
    "rest-activity.polls.create.duration",
    "rest-activity.polls.fix-characters",
)
@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"question": " "}, "`question` must have 1 to 500 characters."),
        ({"question": "é" * 501}, "`question` must have 1 to 500 characters."),
        ({"question": "\u202ewhy"}, "`question` must not contain characters that reverse"),
        ({"options": ["one"]}, "A poll must have 2 to 20 options."),
        ({"options": [str(n) for n in range(21)]}, "A poll must have 2 to 20 options."),
        ({"options": ["one", "\u3164"]}, "`options[1]` must have 1 to 200 characters."),
        ({"options": ["x" * 201, "two"]}, "`options[0]` must have 1 to 200 characters."),
        ({"options": ["Bus", " bus "]}, "The options must differ in more than upper and lower case."),
        ({"durationMinutes": 4}, "`durationMinutes` must be from 5 to 2880."),
        ({"durationMinutes": 2881}, "`durationMinutes` must be from 5 to 2880."),
    ],
)
async def test_an_invalid_poll_is_refused_with_its_fault(crew: Crew, fields: dict[str, Any], fault: str) -> None:
    body = {"question": "How?", "options": ["train", "bus"]} | fields
    reply = await crew.world.call("POST", crew.path, by=crew.ana, body=body)
    assert (reply.status, reply.code) == (400, "invalid_poll_data")
    assert fault in reply.json["message"]


@pytest.mark.contract("rest-activity.polls.create")
async def test_all_faults_are_reported_at_once(crew: Crew) -> None:
    body = {"question": "", "options": [], "durationMinutes": 1}
    reply = await crew.world.call("POST", crew.path, by=crew.ana, body=body)
    assert reply.json["details"] == (
        "`question` must have 1 to 500 characters; A poll must have 2 to 20 options; "
        "`durationMinutes` must be from 5 to 2880"
    )


@pytest.mark.contract("rest-activity.polls.fix-characters")
async def test_limits_count_characters_and_options_are_trimmed(crew: Crew) -> None:
    poll = await crew.create(question="é" * 500, options=[" train ", "é" * 200], durationMinutes=5)
    assert [option["text"] for option in poll["options"]] == ["train", "é" * 200]


@pytest.mark.contract("rest-activity.polls.vote", "rest-activity.polls.unvote")
async def test_a_single_vote_moves_and_is_withdrawn(crew: Crew) -> None:
    poll = await crew.create()
    for option in (0, 1):
        assert (await crew.vote(poll, option)).json == {"message": "Vote cast successfully"}
    assert [option["voteCount"] for option in (await crew.get(poll))["options"]] == [0, 1]
    path = f"/vote/{poll['options'][1]['id']}"
    assert (await crew.send("DELETE", poll, path)).json == {"message": "Vote removed successfully"}
    reply = await crew.send("DELETE", poll, path)
    assert (reply.status, reply.code) == (404, "poll_vote_not_found")
    assert (await crew.get(poll))["totalVotes"] == 0


@pytest.mark.contract("rest-activity.polls.get", "rest-activity.polls.vote")
async def test_malformed_ids_are_refused(crew: Crew) -> None:
    poll = await crew.create()
    malformed = {"id": "1"}
    for reply in (
        await crew.send("GET", malformed),
        await crew.send("POST", poll, "/vote", optionId="x"),
        await crew.send("DELETE", poll, "/vote/x"),
    ):
        assert (reply.status, reply.code) == (400, "validation_failed")
    unknown = {"id": "019a0000-0000-7000-8000-00000000ffff"}
    reply = await crew.send("GET", unknown)
    assert (reply.status, reply.code) == (404, "poll_not_found")
    reply = await crew.send("POST", poll, "/vote", optionId=unknown["id"])
    assert (reply.status, reply.code) == (404, "poll_option_not_found")


@pytest.mark.contract(
    "rest-activity.polls.vote",
    "rest-activity.polls.close",
    "rest-activity.polls.lazy-expiry",
    "jobs.poll-expiry",
)
async def test_an_open_poll_is_closed_by_its_quorum_or_its_deadline(crew: Crew) -> None:
    first, second = await crew.create(), await crew.create(question="When?", durationMinutes=5)
    reply = await crew.send("POST", first, "/close")
    assert (reply.status, reply.code) == (400, "poll_close_restricted")
    for user in (crew.ana, crew.ben):
        await crew.vote(first, 0, by=user)
    assert (await crew.send("POST", first, "/close")).json["closedBy"] == str(crew.ana.id)
    crew.world.clock.advance(300)
    reply = await crew.vote(second, 0)
    assert (reply.status, reply.code) == (400, "poll_expired")
    assert (await crew.get(second))["status"] == "ACTIVE"
    assert (await crew.send("POST", second, "/close")).status == 200
    reply = await crew.vote(second, 0)
    assert (reply.status, reply.code) == (400, "poll_closed")


@pytest.mark.contract("rest-activity.polls.change")
async def test_the_question_changes_before_the_first_vote_only(crew: Crew) -> None:
    poll = await crew.create()
    assert (await crew.send("PUT", poll, question="Why?")).json["question"] == "Why?"
    reply = await crew.send("PUT", poll, question=" ")
    assert (reply.status, reply.code) == (400, "invalid_update")
    await crew.vote(poll, 0)
    reply = await crew.send("PUT", poll, question="How?")
    assert (reply.status, reply.code) == (400, "poll_has_votes")


@pytest.mark.contract("rest-activity.polls.delete")
async def test_a_deleted_poll_is_gone_and_may_be_created_again(crew: Crew) -> None:
    poll = await crew.create()
    assert (await crew.send("DELETE", poll)).json == {"message": "Poll deleted successfully"}
    assert (await crew.send("GET", poll)).code == "poll_not_found"
    assert (await crew.create())["id"] != poll["id"]
