"""All ports that a handler may use, one attribute per port."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from msgspec import Struct

if TYPE_CHECKING:
    # For type checkers only: at runtime a function would load the types of every feature.
    from nomadcrew.core.api_keys.ports import ApiKeys, KeyVerifier
    from nomadcrew.core.archives.ports import TripExports, TripImports
    from nomadcrew.core.auth.credential_ports import Identities, IdTokens, PasskeyProofs, Passkeys, TotpFactors
    from nomadcrew.core.auth.ports import (
        Accounts,
        Codes,
        OpenSessions,
        Registrations,
        Sessions,
        Tokens,
        UnconfirmedRegistrations,
        Verifier,
    )
    from nomadcrew.core.backgrounds.ports import Backgrounds, PhotoSearch
    from nomadcrew.core.calendars.ports import CalendarLinks, Calendars
    from nomadcrew.core.chat.ports import Attachments, ChatLog
    from nomadcrew.core.clock import Clock
    from nomadcrew.core.documents.ports import Documents, FileTokens
    from nomadcrew.core.erasure.ports import Erasures, PersonalCopies, ReceiptMail, Receipts
    from nomadcrew.core.events import AuditLog, EventLog, Outbox
    from nomadcrew.core.feedback.ports import FeedbackBox
    from nomadcrew.core.files.ports import Files
    from nomadcrew.core.find.ports import Finder
    from nomadcrew.core.flags import Flags
    from nomadcrew.core.idempotency import IdempotencyStore
    from nomadcrew.core.ids import NewId
    from nomadcrew.core.invitations.ports import InvitationLinks, Invitations
    from nomadcrew.core.locations.ports import (
        LocationSharing,
        LocationStream,
        MeetingPoints,
        Positions,
        PositionViews,
        StreamedPositions,
    )
    from nomadcrew.core.mail import Mailer, Suppression
    from nomadcrew.core.members.ports import Members
    from nomadcrew.core.mirror.ports import Mirror, MirrorSource
    from nomadcrew.core.notifications.ports import Notifications
    from nomadcrew.core.notifications.push import Push, PushTokens
    from nomadcrew.core.pictures.ports import Pictures, Renderer
    from nomadcrew.core.places.ports import Gazetteer, Places
    from nomadcrew.core.polls.ports import Polls
    from nomadcrew.core.presence.ports import Presence
    from nomadcrew.core.queues import WorkQueue
    from nomadcrew.core.rate_limits import RateLimits
    from nomadcrew.core.realtime import (
        AllSockets,
        AwakeSockets,
        Broadcaster,
        ConnectedUsers,
        Connections,
        SocketDelivery,
        Sockets,
        TopicOf,
        Topics,
    )
    from nomadcrew.core.retention import Retention
    from nomadcrew.core.scheduled_jobs import JobRuns
    from nomadcrew.core.schema import Schema
    from nomadcrew.core.screens.ports import Screens
    from nomadcrew.core.sync.ports import ChangeLog, SyncPoints
    from nomadcrew.core.timezones import TimeZones
    from nomadcrew.core.todos.ports import Todos
    from nomadcrew.core.trips.ports import Trips
    from nomadcrew.core.trips.statuses import TripStatuses
    from nomadcrew.core.users.ports import PrivateAddresses, Profiles
    from nomadcrew.core.versions import Versions
    from nomadcrew.core.weather.ports import Destinations, WeatherOf
    from nomadcrew.core.webhooks.ports import Webhooks, WebhookSecrets, WebhookSender


class Site(Struct, frozen=True):
    """This deployment, as its users see it.

    `public_url` is the URL of the API. `app_url` is the app's own host for links, if it has one. `mail_leaves` is
    True if mail is sent to real mailboxes, so that addresses can be confirmed. `push_leaves` is True if pushes are
    sent. `advances_trips` is True if the status of trips follows their days. `webhook_networks` may receive
    webhooks besides the internet.
    """

    public_url: str
    app_url: str | None = None
    registration_open: bool = True
    mail_leaves: bool = False
    push_leaves: bool = False
    advances_trips: bool = False
    webhook_networks: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name of this deployment in an authenticator app."""
        return f"NomadCrew {urlsplit(self.public_url).hostname}"

    @property
    def link_base(self) -> str:
        return self.app_url or self.public_url


_NOT_HERE: Any = None


# No `eq` or `repr`: unused, and generating them costs 1 ms of cold start.
class Ports(Struct, frozen=True, eq=False):
    site: Site
    clock: Clock
    new_id: NewId
    limits: RateLimits
    idempotency: IdempotencyStore
    outbox: Outbox
    events: EventLog
    queue: WorkQueue
    mailer: Mailer
    connections: Connections
    broadcaster: Broadcaster
    connected: ConnectedUsers
    awake_sockets: AwakeSockets
    presence: Presence
    tokens: Tokens
    # Parts of `tokens` and `accounts`, for functions that need only those.
    verifier: Verifier
    codes: Codes
    key_verifier: KeyVerifier
    api_keys: ApiKeys
    registrations: Registrations
    unconfirmed_registrations: UnconfirmedRegistrations
    accounts: Accounts
    sessions: Sessions
    totp_factors: TotpFactors
    identities: Identities
    id_tokens: IdTokens
    passkeys: Passkeys
    passkey_proofs: PasskeyProofs
    profiles: Profiles
    private_addresses: PrivateAddresses
    trips: Trips
    trip_statuses: TripStatuses
    trip_imports: TripImports
    trip_exports: TripExports
    time_zones: TimeZones
    destinations: Destinations
    weather_of: WeatherOf
    places: Places
    members: Members
    invitations: Invitations
    invitation_links: InvitationLinks
    todos: Todos
    calendars: Calendars
    calendar_links: CalendarLinks
    polls: Polls
    feedback_box: FeedbackBox
    changes: ChangeLog
    sync_points: SyncPoints
    screens: Screens
    versions: Versions
    chat: ChatLog
    finder: Finder
    attachments: Attachments
    files: Files
    documents: Documents
    document_files: Files  # those of documents, for functions that need only those
    export_files: Files  # archives of trips
    file_tokens: FileTokens
    pictures: Pictures
    picture_files: Files  # those of pictures, likewise
    picture_links: Files  # the same, for functions that only link to them
    renderer: Renderer
    backgrounds: Backgrounds
    photo_search: PhotoSearch
    notifications: Notifications
    push_tokens: PushTokens
    push: Push
    mirror_source: MirrorSource
    mirror: Mirror
    positions: Positions
    location_stream: LocationStream
    location_sharing: LocationSharing
    position_views: PositionViews
    meeting_points: MeetingPoints
    webhooks: Webhooks
    webhook_secrets: WebhookSecrets
    webhook_sender: WebhookSender
    retention: Retention
    erasures: Erasures
    personal_copies: PersonalCopies
    erasure_receipts: Receipts
    receipt_mail: ReceiptMail
    job_runs: JobRuns
    flags: Flags
    # AWS only: the machine host holds its sockets, verifies its tokens and stores its events in the database.
    sockets: Sockets = _NOT_HERE
    socket_delivery: SocketDelivery = _NOT_HERE
    all_sockets: AllSockets = _NOT_HERE
    open_sessions: OpenSessions = _NOT_HERE
    topics: Topics = _NOT_HERE
    topic_of: TopicOf = _NOT_HERE
    audit: AuditLog = _NOT_HERE
    suppression: Suppression = _NOT_HERE
    schema: Schema = _NOT_HERE
    streamed_positions: StreamedPositions = _NOT_HERE
    # One machine only: on AWS a service has the places.
    gazetteer: Gazetteer = _NOT_HERE
