"""Jobs of the push queue: a push to send, or receipts to check."""

from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from nomadcrew.core.errors import PermanentFailure
from nomadcrew.core.ids import EventId, NotificationId, UserId
from nomadcrew.core.notifications.push import PushTask


class _Pushed(Struct):
    id: UUID
    type: str
    metadata: dict[str, Any]
    recipients: dict[str, UUID]


class ReceiptsTask(Struct, frozen=True):
    """Check the receipts of a push. `round` counts the checks from 1."""

    push_id: UUID
    round: int = 1


class _Job(Struct, omit_defaults=True):
    push: _Pushed | None = None
    receipts: ReceiptsTask | None = None


class NotAPushJob(PermanentFailure):
    """A message is not a push job; retrying cannot help."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Job).decode


def push_job(task: PushTask) -> str:
    recipients: dict[str, UUID] = {str(user_id): id_ for user_id, id_ in task.recipients.items()}
    return _encode(_Job(push=_Pushed(task.id, task.type, dict(task.metadata), recipients))).decode()


def receipts_job(push_id: EventId, round_: int) -> str:
    return _encode(_Job(receipts=ReceiptsTask(push_id, round_))).decode()


def push_job_in(body: str) -> PushTask | ReceiptsTask:
    """Decode a message of the push queue.

    Raises:
        NoPush: the message is not a push job.
    """
    try:
        job = _decode(body)
        if job.push is not None:
            recipients = {UserId(UUID(user)): NotificationId(id_) for user, id_ in job.push.recipients.items()}
            return PushTask(EventId(job.push.id), job.push.type, job.push.metadata, recipients)
    except (msgspec.MsgspecError, ValueError) as error:
        raise NotAPushJob(type(error).__name__) from error
    if job.receipts is None:
        raise NotAPushJob("an empty job")
    return job.receipts
