"""Polls as members see them, on either host."""

from typing import Any

from tests.e2e.client import Socket, User, eventually
from tests.e2e.conftest import Connect, Register

DAYS = [{"firstDay": "2027-05-02", "lastDay": "2027-05-08"}, {"firstDay": "2027-06-01", "lastDay": "2027-06-09"}]


async def crew(register: Register) -> tuple[User, User, str]:
    ana, ben = await register("ana"), await register("ben")
    trip_id = await ana.new_trip()
    await ana.add_member(trip_id, ben)
    return ana, ben, trip_id


def voters(poll: Any) -> list[list[str]]:
    return [[voter["userId"] for voter in option["voters"]] for option in poll["options"]]


async def test_members_vote_live_and_the_creator_closes_the_poll(register: Register, connect: Connect) -> None:
    ana, ben, trip_id = await crew(register)
    sockets = [await connect(ana), await connect(ben)]
    poll = await ana.new_poll(trip_id)
    path, options = f"/v1/trips/{trip_id}/polls/{poll['id']}", [option["id"] for option in poll["options"]]
    for option in options:  # the second vote replaces the first
        await ben.ask("POST", f"{path}/vote", {"optionId": option})
    refused = await ana.send("POST", f"{path}/close")
    assert (refused.status_code, refused.json()["code"]) == (400, "poll_close_restricted")
    await ana.ask("POST", f"{path}/vote", {"optionId": options[1]})
    closed = await ana.ask("POST", f"{path}/close")
    assert (closed["status"], voters(closed)) == ("CLOSED", [[], [ben.id, ana.id]])
    for live in sockets:
        await live.event("POLL_CREATED", trip_id, pollId=poll["id"], question="How?")
        await live.event("POLL_VOTE_CAST", trip_id, optionId=options[0], userId=ben.id)
        await live.event("POLL_VOTE_CAST", trip_id, optionId=options[1], userId=ana.id)
        await live.event("POLL_CLOSED", trip_id, pollId=poll["id"], closedBy=ana.id)
    for user in (ana, ben):
        listed = await user.ask("GET", f"/v1/trips/{trip_id}/polls")
        assert [(each["id"], each["totalVotes"]) for each in listed["data"]] == [(poll["id"], 2)]
        assert listed["pagination"] == {"limit": 20, "offset": 0, "total": 1}


async def test_a_blind_vote_is_announced_without_its_voter(register: Register, connect: Connect) -> None:
    ana, ben, trip_id = await crew(register)
    live: Socket = await connect(ana)
    poll = await ana.new_poll(trip_id, ballot="blind", kind="ranked", options=["train", "bus", "boat"])
    path, options = f"/v1/trips/{trip_id}/polls/{poll['id']}", [option["id"] for option in poll["options"]]
    await ben.ask("PUT", f"{path}/ballot", {"ranking": options[::-1]})
    event = await live.event("POLL_VOTE_CAST", trip_id, pollId=poll["id"])
    assert ben.id not in str(event)
    assert voters(await ana.ask("GET", path)) == [[], [], []]
    await ana.ask("PUT", f"{path}/ballot", {"ranking": [options[2]]})
    closed = await ana.ask("POST", f"{path}/close")
    assert closed["winners"] == [options[2]]
    assert voters(closed) == [[ben.id], [ben.id], [ben.id, ana.id]]


async def test_the_winning_dates_become_those_of_the_trip(register: Register, connect: Connect) -> None:
    ana, ben, trip_id = await crew(register)
    live = await connect(ben)
    poll = await ana.new_poll(trip_id, kind="dates", options=[], days=DAYS)
    path, options = f"/v1/trips/{trip_id}/polls/{poll['id']}", [option["id"] for option in poll["options"]]
    for user, answers in ((ana, ("no", "yes")), (ben, ("yes", "ifNeedBe"))):
        marks = [{"optionId": id_, "answer": answer} for id_, answer in zip(options, answers, strict=True)]
        await user.ask("PUT", f"{path}/ballot", {"answers": marks})
    await ana.ask("POST", f"{path}/close")
    applied = await ana.ask("POST", f"{path}/apply", {"to": "dates"})
    assert applied["applied"]["optionId"] == options[1]
    await live.event("TRIP_UPDATED", trip_id, startDate="2027-06-01T00:00:00Z", endDate="2027-06-09T00:00:00Z")
    await live.event("POLL_UPDATED", trip_id, pollId=poll["id"], appliedTo="dates")


async def test_members_are_notified_of_a_new_poll_and_its_end(register: Register) -> None:
    ana, ben, trip_id = await crew(register)
    poll = await ana.new_poll(trip_id, question="Which boat?")
    path = f"/v1/trips/{trip_id}/polls/{poll['id']}"
    for user in (ana, ben):
        await user.ask("POST", f"{path}/vote", {"optionId": poll["options"][0]["id"]})
    await ana.ask("POST", f"{path}/close")

    async def told() -> set[str]:
        found = await ben.ask("GET", "/v1/notifications")
        texts = {each["message"] for each in found if each["metadata"].get("pollID") == poll["id"]}
        return texts if len(texts) == 2 else set()

    texts = await eventually(told)
    assert "The poll is closed: Which boat?" in texts
    assert any(text.endswith(" asks: Which boat?") for text in texts)
