"""Consumes the push queue: sends pushes to phones, and later checks their receipts."""

from typing import Final

from nomadcrew.core.errors import Unavailable
from nomadcrew.core.events import PUSH
from nomadcrew.core.ids import EventId, JobId, derived_id
from nomadcrew.core.notifications.delivery import check_receipts, deliver, unread
from nomadcrew.core.notifications.push import RECEIPT_ROUNDS, RECEIPTS_AFTER_S, PushTask
from nomadcrew.core.ports import Ports
from nomadcrew.core.queues import Job
from nomadcrew.wire.push_jobs import ReceiptsTask, push_job_in, receipts_job

PORTS: Final = ("awake_sockets", "chat", "push", "push_tokens", "queue")


async def consume_push(job: Job, ports: Ports) -> None:
    """Send a push or check receipts; do nothing on a site without pushes.

    Raises:
        Unavailable: some messages are left for the next attempt.
        PushRefused: the push service refuses our credentials.
        NotAPushJob: the message is not a push job.
    """
    task = push_job_in(job.body)
    if not ports.site.push_leaves:
        return
    if isinstance(task, ReceiptsTask):
        await _check(task, ports)
    else:
        await _push(task, job.attempt, ports)


async def _push(task: PushTask, attempt: int, ports: Ports) -> None:
    task = await unread(task, chat=ports.chat, sockets=ports.awake_sockets)
    done = await deliver(task, tokens=ports.push_tokens, push=ports.push, now=ports.clock())
    # An earlier attempt may have crashed after a message was accepted, before it queued the receipts job.
    if done.taken or attempt > 1:
        await _ask_later(task.id, 1, ports)
    if done.left:
        raise Unavailable(details=f"{done.left} messages are left")


async def _check(task: ReceiptsTask, ports: Ports) -> None:
    push_id = EventId(task.push_id)
    missing = await check_receipts(push_id, tokens=ports.push_tokens, push=ports.push, now=ports.clock())
    if missing and task.round < RECEIPT_ROUNDS:
        await _ask_later(push_id, task.round + 1, ports)


async def _ask_later(push_id: EventId, round_: int, ports: Ports) -> None:
    await ports.queue.send(
        PUSH,
        receipts_job(push_id, round_),
        job_id=JobId(derived_id(push_id, f"receipts {round_}")),
        delay_s=RECEIPTS_AFTER_S,
    )
