"""Reminders of invitations, from the scheduled job to mail, list and push."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from nomadcrew.adapters.postgres.outbox import PostgresOutbox
from nomadcrew.api.consumers import CONSUMERS
from nomadcrew.core.events import EMAIL, NOTIFICATIONS
from nomadcrew.core.scheduled_jobs import SCHEDULED_JOBS, run_scheduled_job
from tests.postgres import Postgres
from tests.world import User, World, world

JOBS = {job.name: job for job in SCHEDULED_JOBS}


@pytest_asyncio.fixture(loop_scope="session")
async def here(postgres: Postgres, template: str, tmp_path: Path) -> AsyncIterator[World]:
    environment = {"NOMADCREW_RATE_LIMITS": "off"}
    async with world(postgres, tmp_path, template=template, environment=environment) as made:
        yield made


async def consume(here: World) -> None:
    """Publish the outbox and consume the jobs of its events."""
    await PostgresOutbox(here.pool).publish(limit=1_000, now=here.clock())
    for queue in (NOTIFICATIONS, EMAIL):
        for job in await here.ports.queue.receive(queue, limit=100, visibility_s=60):
            await CONSUMERS[queue](job, here.ports)
            await here.ports.queue.ack(job)


def subjects(here: World, address: str) -> list[str]:
    """The subjects of the mails to an address."""
    mails = [message_from_bytes(file.read_bytes(), policy=policy.default) for file in here.mail.glob("*.eml")]
    return sorted(str(mail["subject"]) for mail in mails if address in str(mail["to"]))


async def listed(here: World, whose: User) -> list[Any]:
    # Days after the sign-in.
    again = replace(whose, token=await here.token(whose.id, whose.username))
    return list((await here.call("GET", "/v1/notifications", by=again)).json)


@pytest.mark.contract("jobs.mail.fix-asynchronous")
async def test_an_invitee_is_reminded_by_mail_and_in_the_list_and_the_expiry_clears_the_list(here: World) -> None:
    ana, ben = await here.user("ana"), await here.user("ben")
    path = f"/v1/trips/{await here.trip(ana, name='Porto')}/invitations"
    for address in (ben.email, "new@example.org"):
        body = {"email": address, "role": "member"}
        assert (await here.call("POST", path, by=ana, body=body)).status == 201
    assert subjects(here, ben.email) == []  # the request did not wait for the mail
    await consume(here)
    [first] = await listed(here, ben)
    await here.call("PATCH", f"/v1/notifications/{first['id']}/read", by=ben)

    here.clock.advance(timedelta(days=5).total_seconds())
    assert await run_scheduled_job(JOBS["invitation-reminders"], here.ports) == 2
    assert await run_scheduled_job(JOBS["invitation-reminders"], here.ports) == 0
    await consume(here)
    for address in (ben.email, "new@example.org"):
        assert subjects(here, address) == ["Ana invites you to Porto", "Your invitation to Porto ends soon"]
    [again] = await listed(here, ben)
    assert (again["id"], again["read"], again["message"]) == (first["id"], False, "Ana still invites you to Porto")
    assert again["metadata"] == first["metadata"] | {
        "change": "reminder", "expiresAt": "2026-11-29T12:00:00.000000Z"
    }  # fmt: skip

    here.clock.advance(timedelta(days=2).total_seconds())
    assert await run_scheduled_job(JOBS["expired-invitations"], here.ports) == 2
    assert await listed(here, ben) == []


async def test_a_late_notification_of_an_expired_invitation_is_not_stored(here: World) -> None:
    ana, ben = await here.user("ana"), await here.user("ben")
    path = f"/v1/trips/{await here.trip(ana)}/invitations"
    await here.call("POST", path, by=ana, body={"email": ben.email, "role": "member"})
    here.clock.advance(timedelta(days=7).total_seconds())
    await consume(here)
    assert await listed(here, ben) == []
    assert subjects(here, ben.email) == []
