"""The ports of the machine host."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nomadcrew.adapters.calendar_links import KeyedCalendarLinks
from nomadcrew.adapters.erasure_receipts import KeyedReceipts
from nomadcrew.adapters.file_tokens import EncryptedFileTokens
from nomadcrew.adapters.http.expo import ExpoPush
from nomadcrew.adapters.http.open_meteo import OpenMeteo
from nomadcrew.adapters.http.pexels import Pexels
from nomadcrew.adapters.http.supabase import SupabaseMirror
from nomadcrew.adapters.http.webhooks import HttpWebhookSender
from nomadcrew.adapters.jwt.id_tokens import Client, ProviderIdTokens
from nomadcrew.adapters.jwt.issuers import Issuer, SupabaseIssuer
from nomadcrew.adapters.jwt.jwks import JwksSource
from nomadcrew.adapters.jwt.jwks_cache import fetcher
from nomadcrew.adapters.jwt.tokens import JwtTokens
from nomadcrew.adapters.machine.disk_files import FILES, DiskFiles
from nomadcrew.adapters.machine.ended_sockets import EndedSockets
from nomadcrew.adapters.machine.flags import FileFlags
from nomadcrew.adapters.machine.gazetteer import MachineGazetteer
from nomadcrew.adapters.machine.invitation_links import SignedInvitationLinks
from nomadcrew.adapters.machine.keys import Keys, open_keys
from nomadcrew.adapters.machine.location_stream import DirectLocationStream
from nomadcrew.adapters.machine.mailer import FileMailer, SmtpMailer, SmtpServer
from nomadcrew.adapters.machine.passwords import Argon2Passwords
from nomadcrew.adapters.machine.rate_limits import rate_limits
from nomadcrew.adapters.mime import MailSender
from nomadcrew.adapters.mirrored_broadcaster import MirroredBroadcaster
from nomadcrew.adapters.noop import NoAwakeSockets, NoMirror, NoPhotoSearch, NoPlaces, NoPush, NoWeather
from nomadcrew.adapters.passkey_proofs import WebAuthnProofs
from nomadcrew.adapters.pictures.renderer import ChildRenderer
from nomadcrew.adapters.postgres.accounts import PostgresAccounts
from nomadcrew.adapters.postgres.chat import PostgresChat
from nomadcrew.adapters.postgres.find import PostgresFinder
from nomadcrew.adapters.postgres.places import PostgresGazetteer
from nomadcrew.adapters.postgres.ports import SQL_PORTS
from nomadcrew.adapters.postgres.presence import PostgresPresence
from nomadcrew.adapters.postgres.queue import PostgresQueue
from nomadcrew.adapters.postgres.sessions import PostgresSessions
from nomadcrew.adapters.postgres.sql import Sql
from nomadcrew.adapters.postgres.weather import PostgresWeatherCache
from nomadcrew.adapters.private_addresses import KeyedPrivateAddresses
from nomadcrew.adapters.receipt_mail import QueuedReceiptMail
from nomadcrew.adapters.time_zones import TzfTimeZones
from nomadcrew.adapters.webhook_secrets import KeyedWebhookSecrets
from nomadcrew.core.api_keys.verifier import ApiKeyVerifier
from nomadcrew.core.auth.model import Provider
from nomadcrew.core.backgrounds.ports import PhotoSearch
from nomadcrew.core.clock import Clock, utc_now
from nomadcrew.core.events import Outbox
from nomadcrew.core.ids import NewId, SessionId, uuid7
from nomadcrew.core.mail import Mailer
from nomadcrew.core.mirror.ports import Mirror
from nomadcrew.core.notifications.push import Push
from nomadcrew.core.ports import Ports, Site
from nomadcrew.core.rate_limits import RateLimits
from nomadcrew.core.realtime import Broadcaster, Connections
from nomadcrew.core.weather.ports import WeatherOf
from nomadcrew.core.weather.shared import SharedWeather
from nomadcrew.core.webhooks.addresses import parse_networks
from nomadcrew.hosts.machine.later_uses import LaterUses
from nomadcrew.hosts.machine.recorded_views import RecordedViews
from nomadcrew.settings import AUTO, OFF, Settings

# The `iss` of our tokens if no public URL is set: it must not change with the port.
DEFAULT_ISSUER = "nomadcrew"


def machine_ports(
    settings: Settings,
    keys_folder: Path,
    mail_folder: Path,
    files_folder: Path,
    sql: Sql,
    *,
    url: str,
    outbox: Outbox,
    connections: Connections,
    broadcaster: Broadcaster,
    on_session_end: Callable[[SessionId], None],
    limits: RateLimits | None = None,
    presence: PostgresPresence | None = None,
    clock: Clock = utc_now,
    new_id: NewId = uuid7,
) -> Ports:
    """The ports of one machine, on its database and its data folder. `url` is the listening address.

    `limits` and `presence` replace the defaults, for workers whose host counts limits and announces presence.

    Raises:
        ValueError: a setting or a key file is not valid; the message says which.
        OSError: the folders cannot be read or written.
    """
    keys = open_keys(keys_folder)
    tokens, accounts = _tokens(settings, keys, on_session_end), PostgresAccounts(sql, Argon2Passwords())
    queue = PostgresQueue(sql, clock=clock, new_id=new_id)
    shared: dict[str, Any] = {name: make(sql) for name, make in SQL_PORTS.items()}
    shared["position_views"] = RecordedViews(shared["position_views"])
    presence = presence or PostgresPresence(sql)
    places = NoPlaces() if settings.places == OFF else PostgresGazetteer(sql)
    mirrored = MirroredBroadcaster(broadcaster, queue) if settings.mirrors else broadcaster
    files = DiskFiles(files_folder, keys.files, base=FILES)
    return Ports(
        site=Site(
            public_url=settings.public_url or url,
            app_url=settings.app_url,
            registration_open=settings.registration == "open",
            mail_leaves=settings.smtp_url is not None,
            push_leaves=settings.expo_url is not None,
            advances_trips=settings.trip_status == AUTO,
            webhook_networks=settings.webhook_networks,
        ),
        **shared,
        time_zones=TzfTimeZones(),
        weather_of=_weather_of(settings, sql),
        places=places,
        gazetteer=NoPlaces() if isinstance(places, NoPlaces) else MachineGazetteer(places),
        chat=PostgresChat(sql, outbox),
        finder=PostgresFinder(sql),
        files=files,
        document_files=files,
        picture_files=files,
        picture_links=files,
        renderer=ChildRenderer(),
        photo_search=_photo_search(settings),
        export_files=files,
        file_tokens=EncryptedFileTokens(lambda: [secret.encode() for secret in keys.files]),
        limits=limits or rate_limits(settings.rate_limits, clock),
        flags=FileFlags(settings.home / "flags.json"),
        outbox=outbox,
        connections=connections,
        broadcaster=mirrored,
        awake_sockets=NoAwakeSockets(),
        presence=presence,
        connected=presence,
        location_stream=DirectLocationStream(shared["location_sharing"], mirrored, new_id),
        mailer=_mailer(settings, mail_folder, clock),
        push=_push(settings),
        mirror=_mirror(settings),
        id_tokens=_id_tokens(settings),
        passkey_proofs=WebAuthnProofs(settings.public_url or url, settings.passkey_origins),
        tokens=tokens,
        verifier=tokens,
        codes=tokens,
        key_verifier=ApiKeyVerifier(shared["api_keys"], LaterUses(shared["api_keys"]).record),
        accounts=accounts,
        registrations=accounts,
        unconfirmed_registrations=accounts,
        sessions=PostgresSessions(sql),
        personal_copies=EndedSockets(),
        erasure_receipts=KeyedReceipts(lambda: [secret.encode() for secret in keys.confirmations]),
        receipt_mail=QueuedReceiptMail(queue),
        queue=queue,
        webhook_secrets=KeyedWebhookSecrets(lambda: [secret.encode() for secret in keys.webhooks]),
        webhook_sender=HttpWebhookSender(parse_networks(settings.webhook_networks)),
        private_addresses=KeyedPrivateAddresses(lambda: [secret.encode() for secret in keys.addresses]),
        calendar_links=KeyedCalendarLinks(lambda: [secret.encode() for secret in keys.invitations]),
        invitation_links=SignedInvitationLinks((*keys.invitations, *settings.invitation_secrets)),
        clock=clock,
        new_id=new_id,
    )


def _mailer(settings: Settings, folder: Path, clock: Clock) -> Mailer:
    sender = MailSender.parse(settings.mail_from)
    if settings.smtp_url is None:
        return FileMailer(folder, sender, clock=clock)
    return SmtpMailer(SmtpServer.parse(settings.smtp_url), sender, clock=clock)


def _push(settings: Settings) -> Push:
    if settings.expo_url is None:
        return NoPush()
    return ExpoPush(settings.expo_url, lambda: settings.expo_token)


def _weather_of(settings: Settings, sql: Sql) -> WeatherOf:
    if settings.weather_url is None:
        return NoWeather()
    return SharedWeather(OpenMeteo(settings.weather_url), PostgresWeatherCache(sql))


def _photo_search(settings: Settings) -> PhotoSearch:
    if settings.pexels_api_key is None:
        return NoPhotoSearch()
    return Pexels(settings.pexels_url, lambda: settings.pexels_api_key)


def _mirror(settings: Settings) -> Mirror:
    if settings.supabase_url is None or settings.supabase_service_key is None:
        return NoMirror()
    return SupabaseMirror(settings.supabase_url, lambda: settings.supabase_service_key)


def _tokens(settings: Settings, keys: Keys, on_session_end: Callable[[SessionId], None]) -> JwtTokens:
    return JwtTokens(
        keys.signing,
        keys.confirmations,
        issuer=settings.public_url or DEFAULT_ISSUER,
        others=_other_issuers(settings),
        on_revoke=on_session_end,
    )


def _id_tokens(settings: Settings) -> ProviderIdTokens:
    return ProviderIdTokens(
        {
            Provider.GOOGLE: Client(settings.google_client_ids, settings.google_keys_url),
            Provider.APPLE: Client(settings.apple_client_ids, settings.apple_keys_url),
        }
    )


def _other_issuers(settings: Settings) -> Sequence[Issuer]:
    if settings.supabase_url is None:
        return ()
    # Supabase's gateway requires the project's public key on every request.
    key = settings.supabase_anon_key
    headers = {} if key is None else {"apikey": key, "authorization": f"Bearer {key}"}
    keys = JwksSource(f"{settings.supabase_url}/auth/v1/.well-known/jwks.json", fetcher(headers))
    return [SupabaseIssuer(settings.supabase_url, hs256_secret=settings.supabase_jwt_secret, jwks=keys)]
