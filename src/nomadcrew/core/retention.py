"""How long data is stored. Each period is a promise of docs/privacy.md; schedules delete expired rows."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from msgspec import Struct

EVENT_RETENTION = timedelta(days=7)
TOMBSTONE_RETENTION = timedelta(days=60)  # ids of deleted entities, and the cursors of clients that miss them
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
EMAIL_CHANGE_RETENTION = timedelta(days=7)  # after its link expired, with the former address, which gets a mail
KNOWN_DEVICE_RETENTION = timedelta(days=365)  # after the last sign-in on a device of the kind
MAIL_COUNT_RETENTION = timedelta(days=1)  # addresses of mails sent, to limit the mails to each
SESSION_RETENTION = timedelta(days=1)  # after a session expired, so that reuse of its tokens is recognised
API_KEY_RETENTION = timedelta(days=32)  # after a key expired, so that its user sees why it is refused
WEBHOOK_DELIVERY_RETENTION = timedelta(days=7)  # the log of deliveries; their events are stored as long
FEEDBACK_RETENTION = timedelta(days=365)
PUSH_TOKEN_RETENTION = timedelta(days=30)  # after a token became inactive
PUSH_RECORD_RETENTION = timedelta(days=2)  # Expo stores receipts for one day
DEAD_JOB_RETENTION = timedelta(days=30)
WEATHER_RETENTION = timedelta(hours=24)  # weather of destinations, without users or trips
DELETION_RETENTION = timedelta(days=7)  # an account after its user asked to delete it; a sign-in cancels that


class Period(Struct, frozen=True):
    """A promise: the data is deleted this long after the moment that the description names, by a scheduled job."""

    data: str
    stored_for: timedelta
    description: str
    job: str


# All data that ends by itself. Everything else is stored until its user, or an admin of its trip, deletes it.
PERIODS: Sequence[Period] = (
    Period("events", EVENT_RETENTION, "Changes, for clients that reconnect.", "old-events"),
    Period(
        "tombstones", TOMBSTONE_RETENTION, "Ids of deleted data, for clients that synchronise.", "old-tombstones"
    ),
    Period("positions", POSITION_RETENTION, "Tracks, and who viewed them.", "old-positions"),
    Period("notifications", NOTIFICATION_RETENTION, "Notifications, read or not.", "old-notifications"),
    Period("attachments", UNUSED_ATTACHMENT_RETENTION, "Files that no message refers to.", "old-files"),
    Period(
        "deletedDocuments",
        DOCUMENT_RETENTION,
        "The row of a deleted document; its file goes at once.",
        "old-documents",
    ),
    Period("unfinishedDocuments", RESERVED_DOCUMENT_RETENTION, "Documents without their file.", "old-documents"),
    Period("unfinishedPhotos", RESERVED_PICTURE_RETENTION, "Photos without their file.", "old-pictures"),
    Period("documentAudits", DOCUMENT_AUDIT_RETENTION, "Actions on documents.", "old-document-audits"),
    Period("replies", STORED_REPLY_RETENTION, "Replies to requests with an Idempotency-Key.", "old-replies"),
    Period("fingerprints", FINGERPRINT_RETENTION, "Hashes of requests without a key.", "old-replies"),
    Period("exports", EXPORT_RETENTION, "Archives of large trips.", "old-exports"),
    Period("uploads", UPLOAD_RETENTION, "Archives that clients uploaded to import them.", "old-uploads"),
    Period("imports", IMPORT_RETENTION, "Hashes of imported archives.", "old-imports"),
    Period("registrations", REGISTRATION_RETENTION, "Registrations whose link expired.", "old-registrations"),
    Period(
        "emailChanges",
        EMAIL_CHANGE_RETENTION,
        "Changes of email addresses whose link expired.",
        "old-email-changes",
    ),
    Period("devices", KNOWN_DEVICE_RETENTION, "Kinds of devices on which users sign in.", "old-devices"),
    Period("mailCounts", MAIL_COUNT_RETENTION, "Addresses of sent mails.", "old-mail-counts"),
    Period("sessions", SESSION_RETENTION, "Sessions that expired, with their User-Agent.", "old-sessions"),
    Period("apiKeys", API_KEY_RETENTION, "API keys that expired.", "old-api-keys"),
    Period("webhookDeliveries", WEBHOOK_DELIVERY_RETENTION, "The log of deliveries to webhooks.", "old-deliveries"),
    Period("feedback", FEEDBACK_RETENTION, "Feedback.", "old-feedback"),
    Period("pushTokens", PUSH_TOKEN_RETENTION, "Inactive push tokens of phones.", "old-push-tokens"),
    Period("pushes", PUSH_RECORD_RETENTION, "Records of sent pushes.", "old-pushes"),
    Period("deadJobs", DEAD_JOB_RETENTION, "Jobs that failed for good.", "old-dead-jobs"),
    Period("deletedAccounts", DELETION_RETENTION, "Accounts whose users asked to delete them.", "deleted-accounts"),
    Period("weather", WEATHER_RETENTION, "The weather of destinations, without users or trips.", "old-weather"),
)


class Retention(Protocol):
    """Each method deletes the rows that are expired at `now` and returns their number. Safe to repeat."""

    async def delete_events(self, now: datetime) -> int: ...

    async def delete_tombstones(self, now: datetime) -> int: ...

    async def delete_notifications(self, now: datetime) -> int: ...

    async def delete_stored_replies(self, now: datetime) -> int: ...

    async def delete_imports(self, now: datetime) -> int: ...

    async def delete_document_audit(self, now: datetime) -> int: ...

    async def delete_dead_jobs(self, now: datetime) -> int: ...

    async def delete_push_tokens(self, now: datetime) -> int: ...

    async def delete_nonces(self, now: datetime) -> int: ...

    async def delete_email_changes(self, now: datetime) -> int: ...

    async def delete_known_devices(self, now: datetime) -> int: ...
    async def delete_api_keys(self, now: datetime) -> int: ...

    async def delete_webhook_deliveries(self, now: datetime) -> int: ...

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
