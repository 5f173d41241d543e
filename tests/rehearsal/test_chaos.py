"""Faults on AWS, caused on purpose: no acknowledged write is lost, and no user is notified twice."""

import asyncio
import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rehearsal.running import Rehearsal
from tests.e2e.client import Api, eventually
from tests.e2e.conftest import Register
from tests.e2e.mailbox import Mailbox
from tests.rehearsal.sdk import client

# Eight attempts with back-off would take ten minutes; a permanent failure goes to the dead letters at once.
POISON = "this is no event"


async def test_a_poison_message_goes_to_the_dead_letters_and_can_be_sent_again(rehearsal: Rehearsal) -> None:
    sqs = client(rehearsal, "sqs")
    url = sqs.get_queue_url(QueueName="nomadcrew-rehearsal-notifications")["QueueUrl"]
    dead_url = sqs.get_queue_url(QueueName="nomadcrew-rehearsal-notifications-dead")["QueueUrl"]

    async def dead() -> list[Any]:
        found: list[Any] = sqs.receive_message(
            QueueUrl=dead_url, VisibilityTimeout=0, MessageAttributeNames=["All"]
        ).get("Messages", [])
        return found

    sqs.send_message(QueueUrl=url, MessageBody=POISON)
    [message] = await eventually(dead)
    assert message["Body"] == POISON
    again = sqs.receive_message(QueueUrl=dead_url)["Messages"][0]
    sqs.send_message(QueueUrl=url, MessageBody=again["Body"])
    sqs.delete_message(QueueUrl=dead_url, ReceiptHandle=again["ReceiptHandle"])
    assert len(await eventually(dead)) == 1
    sqs.purge_queue(QueueUrl=dead_url)


async def test_a_replayed_archive_notifies_no_user_twice(
    rehearsal: Rehearsal, register: Register, mailbox: Mailbox
) -> None:
    ana, ben = await register("ana"), await register("ben")
    trip_id = await ana.new_trip()
    await ana.add_member(trip_id, ben)

    async def notified() -> list[str]:
        return sorted([row["id"] for row in await ana.ask("GET", "/v1/notifications?limit=100")])

    async def mailed() -> int:
        return len(await mailbox.mails(ben.email))

    await eventually(notified)
    await eventually(mailed)
    before = await notified(), await mailed(), [event["id"] for event in await ben.events()]
    events = client(rehearsal, "events")
    [archive] = events.list_archives()["Archives"]
    now = datetime.now(UTC)
    arn = archive["EventSourceArn"]
    events.start_replay(
        ReplayName="chaos",
        EventSourceArn=events.describe_archive(ArchiveName=archive["ArchiveName"])["ArchiveArn"],
        EventStartTime=now - timedelta(hours=1),
        EventEndTime=now,
        Destination={"Arn": arn},
    )

    async def replayed() -> bool:
        return bool(events.describe_replay(ReplayName="chaos")["State"] == "COMPLETED")

    await eventually(replayed)
    await asyncio.sleep(3)
    assert (await notified(), await mailed(), [event["id"] for event in await ben.events()]) == before


async def test_a_killed_function_loses_no_write_and_repeats_none(
    rehearsal: Rehearsal, api: Api, register: Register
) -> None:
    ana = await register("ana")
    trip_id = await ana.new_trip()
    phone = Api(api.url, retries=3)
    ana.api = phone
    created: set[str] = set()
    stop = asyncio.Event()

    async def kill_now_and_then() -> int:
        killed = seen = 0
        while not stop.is_set():
            await asyncio.sleep(0.3)
            # On a slow machine a function needs longer to start than the pause, and would never answer.
            if len(created) > seen:
                seen = len(created)
                killed += kill_workers("nomadcrew-rehearsal-todos")
        return killed

    async def write(number: int) -> None:
        reply = await ana.send("POST", f"/v1/trips/{trip_id}/todos", {"text": f"to-do {number}"})
        if reply.status_code == 201:
            created.add(str(reply.json()["id"]))

    killer = asyncio.create_task(kill_now_and_then())
    try:
        for batch in range(8):
            await asyncio.gather(*(write(batch * 5 + number) for number in range(5)))
        stop.set()
        assert await killer > 0
        assert created
        # The last kill may end the process that this request reaches; the app sends it again.
        listed = (await ana.ask("GET", f"/v1/trips/{trip_id}/todos?limit=100"))["data"]
    finally:
        stop.set()
        await phone.close()
        ana.api = api
    texts = [todo["text"] for todo in listed]
    assert created <= {todo["id"] for todo in listed}
    assert len(texts) == len(set(texts))

    async def all_published() -> bool:
        published = [event["payload"]["id"] for event in await ana.events() if event["type"] == "TODO_CREATED"]
        return sorted(published) == sorted(todo["id"] for todo in listed)

    # The probe runs half a minute after the write that it checks.
    await eventually(all_published, within_s=60)


async def test_a_stopped_database_is_an_outage_with_retry_after(rehearsal: Rehearsal, register: Register) -> None:
    ana = await register("ana")
    trip_id = await ana.new_trip()
    rehearsal.stop_database()
    try:
        for method, path, body in (
            ("GET", "/v1/trips", None),
            ("POST", f"/v1/trips/{trip_id}/todos", {"text": "boots"}),
        ):
            reply = await ana.send(method, path, body)
            assert reply.status_code == 503, reply.text
            assert int(reply.headers["retry-after"]) > 0
            assert reply.json()["code"] == "unavailable"
    finally:
        rehearsal.start_database()
    assert [trip["id"] for trip in await ana.ask("GET", "/v1/trips")] == [trip_id]
    await ana.new_todo(trip_id, "boots")


def kill_workers(function: str) -> int:
    """Kill the processes that run a function; return their number."""
    killed = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"AWS_LAMBDA_FUNCTION_NAME={function}".encode() in environment:
            os.kill(int(process.name), signal.SIGKILL)
            killed += 1
    return killed
