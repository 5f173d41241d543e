"""The only module that knows which adapter stands behind a port.

Adapters are imported where they are chosen, so that a function pays at its cold start for those it uses only.
"""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any

from nomadcrew.core.clock import utc_now
from nomadcrew.core.ids import uuid7
from nomadcrew.core.ports import Ports, Site
from nomadcrew.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from nomadcrew.adapters.embedded.issuers import Issuer
    from nomadcrew.adapters.embedded.keys import Keys
    from nomadcrew.adapters.postgres.sql import Sql
    from nomadcrew.core.clock import Clock
    from nomadcrew.core.events import EventLog, Outbox
    from nomadcrew.core.identity.ports import Profiles, Sessions
    from nomadcrew.core.ids import NewId, SessionId
    from nomadcrew.core.invitations.ports import Invitations
    from nomadcrew.core.mail import Mailer
    from nomadcrew.core.members.ports import Members
    from nomadcrew.core.notifications.ports import Notifications
    from nomadcrew.core.queues import WorkQueue
    from nomadcrew.core.realtime import Connections
    from nomadcrew.core.replies import Replies
    from nomadcrew.core.todos.ports import Todos
    from nomadcrew.core.trips.ports import Trips

# What `iss` says in our tokens where no public address is set: it must not change with the port.
DEFAULT_ISSUER = "nomadcrew"


def machine_ports(
    settings: Settings,
    keys_folder: Path,
    mail_folder: Path,
    sql: Sql,
    *,
    url: str,
    outbox: Outbox,
    connections: Connections,
    on_session_end: Callable[[SessionId], None],
    clock: Clock = utc_now,
    new_id: NewId = uuid7,
) -> Ports:
    """The ports of one machine, on its database and its data folder. `url` is where it listens.

    Raises:
        ValueError: a setting or a key file cannot be used; the text says which.
        OSError: the folders cannot be read or written.
    """
    from nomadcrew.adapters.embedded.keys import open_keys
    from nomadcrew.adapters.embedded.limits import rate_limits

    keys = open_keys(keys_folder)
    return _ports(
        settings,
        sql,
        url=url,
        limits=rate_limits(settings.rate_limits, clock),
        outbox=outbox,
        connections=connections,
        mailer=_mailer(settings, mail_folder, clock),
        tokens=_tokens(settings, keys, on_session_end),
        accounts=_accounts(sql),
        invitation_links=_links(settings, keys),
        clock=clock,
        new_id=new_id,
    )


@cache
def lambda_ports() -> Ports:
    """The ports of a function, from its environment; what it does not touch is not even imported.

    Raises:
        BadSetting: a setting is missing or cannot be used.
    """
    from nomadcrew.adapters.embedded.limits import rate_limits
    from nomadcrew.adapters.postgres.database import Database

    settings = Settings.read(os.environ)
    database = Database({"dsn": settings.required("database_url")}, size=1)
    return _ports(
        settings,
        database,
        url=settings.required("public_url"),
        limits=rate_limits(settings.rate_limits, utc_now),
        outbox=SilentOutbox(),
        connections=_Later(_no_sockets),
        mailer=_Later(lambda: _mailer(settings, settings.home / "mail", utc_now)),
        tokens=_Later(lambda: _tokens(settings, _keys(settings), lambda _: None)),
        accounts=_Later(lambda: _accounts(database)),
        invitation_links=_Later(lambda: _links(settings, _keys(settings))),
        clock=utc_now,
        new_id=uuid7,
        later=True,
    )


class _Later:
    """A port that is made, and its adapter imported, when it is first used."""

    def __init__(self, make: Callable[[], object]) -> None:
        self._make = make
        self._made: object | None = None

    def __getattr__(self, name: str) -> Any:
        if self._made is None:
            self._made = self._make()
        return getattr(self._made, name)


def _ports(
    settings: Settings, sql: Sql, *, url: str, clock: Clock, new_id: NewId, later: bool = False, **chosen: Any
) -> Ports:
    """The ports on SQL, which both hosts share, with the `chosen` ones; `later` makes each at its first use."""

    def port(make: Callable[[Sql], object]) -> Any:
        return _Later(lambda: make(sql)) if later else make(sql)

    return Ports(
        site=Site(
            public_url=settings.public_url or url,
            app_url=settings.app_url,
            registration_open=settings.registration == "open",
            mail_leaves=settings.smtp_url is not None,
        ),
        clock=clock,
        new_id=new_id,
        replies=port(_replies),
        events=port(_events),
        queue=port(lambda sql: _queue(sql, clock, new_id)),
        sessions=port(_sessions),
        profiles=port(_profiles),
        trips=port(_trips),
        members=port(_members),
        invitations=port(_invitations),
        todos=port(_todos),
        notifications=port(_notifications),
        **chosen,
    )


def _replies(sql: Sql) -> Replies:
    from nomadcrew.adapters.postgres.replies import PostgresReplies

    return PostgresReplies(sql)


def _events(sql: Sql) -> EventLog:
    from nomadcrew.adapters.postgres.outbox import PostgresEventLog

    return PostgresEventLog(sql)


def _queue(sql: Sql, clock: Clock, new_id: NewId) -> WorkQueue:
    from nomadcrew.adapters.postgres.queue import PostgresQueue

    return PostgresQueue(sql, clock=clock, new_id=new_id)


def _sessions(sql: Sql) -> Sessions:
    from nomadcrew.adapters.postgres.sessions import PostgresSessions

    return PostgresSessions(sql)


def _profiles(sql: Sql) -> Profiles:
    from nomadcrew.adapters.postgres.profiles import PostgresProfiles

    return PostgresProfiles(sql)


def _trips(sql: Sql) -> Trips:
    from nomadcrew.adapters.postgres.trips import PostgresTrips

    return PostgresTrips(sql)


def _members(sql: Sql) -> Members:
    from nomadcrew.adapters.postgres.members import PostgresMembers

    return PostgresMembers(sql)


def _invitations(sql: Sql) -> Invitations:
    from nomadcrew.adapters.postgres.invitations import PostgresInvitations

    return PostgresInvitations(sql)


def _todos(sql: Sql) -> Todos:
    from nomadcrew.adapters.postgres.todos import PostgresTodos

    return PostgresTodos(sql)


def _notifications(sql: Sql) -> Notifications:
    from nomadcrew.adapters.postgres.notifications import PostgresNotifications

    return PostgresNotifications(sql)


def _mailer(settings: Settings, folder: Path, clock: Clock) -> Mailer:
    from nomadcrew.adapters.embedded.mailer import FileMailer, Sender, SmtpMailer, SmtpServer

    sender = Sender.parse(settings.mail_from)
    if settings.smtp_url is None:
        return FileMailer(folder, sender, clock=clock)
    return SmtpMailer(SmtpServer.parse(settings.smtp_url), sender, clock=clock)


def _tokens(settings: Settings, keys: Keys, on_session_end: Callable[[SessionId], None]) -> Any:
    from nomadcrew.adapters.embedded.tokens import JwtTokens

    return JwtTokens(
        keys.signing,
        keys.confirmations,
        issuer=settings.public_url or DEFAULT_ISSUER,
        others=_other_issuers(settings),
        on_revoke=on_session_end,
    )


def _other_issuers(settings: Settings) -> Sequence[Issuer]:
    if settings.supabase_url is None:
        return ()
    from nomadcrew.adapters.embedded.issuers import SupabaseIssuer
    from nomadcrew.adapters.embedded.jwks import JwksSource, fetcher

    # Supabase's gateway wants the project's public key on every request.
    key = settings.supabase_anon_key
    headers = {} if key is None else {"apikey": key, "authorization": f"Bearer {key}"}
    keys = JwksSource(f"{settings.supabase_url}/auth/v1/.well-known/jwks.json", fetcher(headers))
    return [SupabaseIssuer(settings.supabase_url, hs256_secret=settings.supabase_jwt_secret, jwks=keys)]


def _accounts(sql: Sql) -> Any:
    from nomadcrew.adapters.embedded.passwords import Argon2Passwords
    from nomadcrew.adapters.postgres.accounts import PostgresAccounts

    return PostgresAccounts(sql, Argon2Passwords())


def _links(settings: Settings, keys: Keys) -> Any:
    from nomadcrew.adapters.embedded.invitation_links import SignedInvitationLinks

    return SignedInvitationLinks((*keys.invitations, *settings.invitation_secrets))


@cache
def _keys(settings: Settings) -> Keys:
    from nomadcrew.adapters.embedded.keys import open_keys

    return open_keys(settings.home / "keys")


class SilentOutbox:
    """An outbox whose publisher runs elsewhere and looks by itself every second."""

    def wake(self) -> None:
        return None


def _no_sockets() -> Connections:
    raise RuntimeError("a function holds no sockets")
