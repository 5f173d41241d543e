"""How long data is stored. Each period is a promise of docs/privacy.md; schedules delete expired rows."""

from datetime import datetime, timedelta
from typing import Protocol

EVENT_RETENTION = timedelta(days=7)
POSITION_RETENTION = timedelta(days=30)  # and views of positions
NOTIFICATION_RETENTION = timedelta(days=30)
UNUSED_ATTACHMENT_RETENTION = timedelta(days=1)  # a file that no message refers to
DOCUMENT_RETENTION = timedelta(days=30)  # the row of a deleted document, with its audit; its file goes at once
RESERVED_DOCUMENT_RETENTION = timedelta(hours=1)  # longer than the request that uploads its file is valid
RESERVED_PICTURE_RETENTION = timedelta(hours=1)  # and the files of a deleted picture, which are deleted twice
DOCUMENT_AUDIT_RETENTION = timedelta(days=365)
STORED_REPLY_RETENTION = timedelta(hours=24)  # for repeats with an Idempotency-Key
FINGERPRINT_RETENTION = timedelta(seconds=30)  # for repeats without one
EXPORT_RETENTION = timedelta(days=1)  # an archive that a job wrote, for its link
EXPORT_FRESHNESS = timedelta(hours=1)  # a later request writes a new archive
UPLOAD_RETENTION = timedelta(hours=1)  # an archive that a client uploaded itself, and its row
IMPORT_RETENTION = timedelta(days=1)  # hashes of imported archives, so that a repeat is recognised
REGISTRATION_RETENTION = timedelta(days=7)  # after an unconfirmed registration expired
MAIL_COUNT_RETENTION = timedelta(days=1)  # addresses of mails sent, to limit the mails to each
SESSION_RETENTION = timedelta(days=1)  # after a session expired, so that reuse of its tokens is recognised
FEEDBACK_RETENTION = timedelta(days=365)
PUSH_TOKEN_RETENTION = timedelta(days=30)  # after a token became inactive
PUSH_RECORD_RETENTION = timedelta(days=2)  # Expo stores receipts for one day
DEAD_JOB_RETENTION = timedelta(days=30)
WEATHER_RETENTION = timedelta(hours=24)  # weather of destinations, without users or trips


class Retention(Protocol):
    """Each method deletes the rows that are expired at `now` and returns their number. Safe to repeat."""

    async def delete_events(self, now: datetime) -> int: ...

    async def delete_notifications(self, now: datetime) -> int: ...

    async def delete_stored_replies(self, now: datetime) -> int: ...

    async def delete_imports(self, now: datetime) -> int: ...

    async def delete_document_audit(self, now: datetime) -> int: ...

    async def delete_dead_jobs(self, now: datetime) -> int: ...

    async def delete_push_tokens(self, now: datetime) -> int: ...

    async def delete_feedback(self, now: datetime) -> int: ...

    async def delete_mails_sent(self, now: datetime) -> int: ...

    async def delete_push_sends(self, now: datetime) -> int: ...

    async def delete_weather(self, now: datetime) -> int: ...

    async def end_expired_sharing(self, now: datetime) -> int:
        """Turn off expired sharing, with an event for each."""
        ...

    async def delete_positions(self, now: datetime) -> int:
        """Delete expired days of history and views, and create the partitions of coming days."""
        ...
