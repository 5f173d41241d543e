"""The ports on SQL, which both hosts use; an adapter is imported where its port is created."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nomadcrew.adapters.postgres.sql import Sql
    from nomadcrew.core.api_keys.ports import ApiKeys
    from nomadcrew.core.archives.ports import TripExports, TripImports
    from nomadcrew.core.auth.credential_ports import Identities, Passkeys, TotpFactors
    from nomadcrew.core.backgrounds.ports import Backgrounds
    from nomadcrew.core.calendars.ports import Calendars
    from nomadcrew.core.chat.ports import Attachments
    from nomadcrew.core.documents.ports import Documents
    from nomadcrew.core.erasure.ports import Erasures
    from nomadcrew.core.events import EventLog
    from nomadcrew.core.feedback.ports import FeedbackBox
    from nomadcrew.core.idempotency import IdempotencyStore
    from nomadcrew.core.invitations.ports import Invitations
    from nomadcrew.core.locations.ports import LocationSharing, MeetingPoints, Positions, PositionViews
    from nomadcrew.core.members.ports import Members
    from nomadcrew.core.mirror.ports import MirrorSource
    from nomadcrew.core.notifications.ports import Notifications
    from nomadcrew.core.notifications.push import PushTokens
    from nomadcrew.core.pictures.ports import Pictures
    from nomadcrew.core.polls.ports import Polls
    from nomadcrew.core.retention import Retention
    from nomadcrew.core.scheduled_jobs import JobRuns
    from nomadcrew.core.screens.ports import Screens
    from nomadcrew.core.sync.ports import ChangeLog, SyncPoints
    from nomadcrew.core.todos.ports import Todos
    from nomadcrew.core.trips.ports import Trips
    from nomadcrew.core.trips.statuses import TripStatuses
    from nomadcrew.core.users.ports import Profiles
    from nomadcrew.core.versions import Versions
    from nomadcrew.core.weather.ports import Destinations
    from nomadcrew.core.webhooks.ports import Webhooks


def api_keys(sql: Sql) -> ApiKeys:
    from nomadcrew.adapters.postgres.api_keys import PostgresApiKeys

    return PostgresApiKeys(sql)


def idempotency(sql: Sql) -> IdempotencyStore:
    from nomadcrew.adapters.postgres.idempotency import PostgresIdempotencyStore

    return PostgresIdempotencyStore(sql)


def events(sql: Sql) -> EventLog:
    from nomadcrew.adapters.postgres.outbox import PostgresEventLog

    return PostgresEventLog(sql)


def profiles(sql: Sql) -> Profiles:
    from nomadcrew.adapters.postgres.profiles import PostgresProfiles

    return PostgresProfiles(sql)


def totp_factors(sql: Sql) -> TotpFactors:
    from nomadcrew.adapters.postgres.totp_factors import PostgresTotpFactors

    return PostgresTotpFactors(sql)


def identities(sql: Sql) -> Identities:
    from nomadcrew.adapters.postgres.identities import PostgresIdentities

    return PostgresIdentities(sql)


def passkeys(sql: Sql) -> Passkeys:
    from nomadcrew.adapters.postgres.passkeys import PostgresPasskeys

    return PostgresPasskeys(sql)


def trips(sql: Sql) -> Trips:
    from nomadcrew.adapters.postgres.trips import PostgresTrips

    return PostgresTrips(sql)


def trip_statuses(sql: Sql) -> TripStatuses:
    from nomadcrew.adapters.postgres.trip_statuses import PostgresTripStatuses

    return PostgresTripStatuses(sql)


def members(sql: Sql) -> Members:
    from nomadcrew.adapters.postgres.members import PostgresMembers

    return PostgresMembers(sql)


def invitations(sql: Sql) -> Invitations:
    from nomadcrew.adapters.postgres.invitations import PostgresInvitations

    return PostgresInvitations(sql)


def todos(sql: Sql) -> Todos:
    from nomadcrew.adapters.postgres.todos import PostgresTodos

    return PostgresTodos(sql)


def calendars(sql: Sql) -> Calendars:
    from nomadcrew.adapters.postgres.calendars import PostgresCalendars

    return PostgresCalendars(sql)


def polls(sql: Sql) -> Polls:
    from nomadcrew.adapters.postgres.polls import PostgresPolls

    return PostgresPolls(sql)


def changes(sql: Sql) -> ChangeLog:
    from nomadcrew.adapters.postgres.sync import PostgresChangeLog

    return PostgresChangeLog(sql)


def sync_points(sql: Sql) -> SyncPoints:
    from nomadcrew.adapters.postgres.sync_points import PostgresSyncPoints

    return PostgresSyncPoints(sql)


def screens(sql: Sql) -> Screens:
    from nomadcrew.adapters.postgres.screens import PostgresScreens

    return PostgresScreens(sql)


def versions(sql: Sql) -> Versions:
    from nomadcrew.adapters.postgres.versions import PostgresVersions

    return PostgresVersions(sql)


def feedback_box(sql: Sql) -> FeedbackBox:
    from nomadcrew.adapters.postgres.feedback import PostgresFeedbackBox

    return PostgresFeedbackBox(sql)


def attachments(sql: Sql) -> Attachments:
    from nomadcrew.adapters.postgres.attachments import PostgresAttachments

    return PostgresAttachments(sql)


def trip_exports(sql: Sql) -> TripExports:
    from nomadcrew.adapters.postgres.exports import PostgresTripExports

    return PostgresTripExports(sql)


def trip_imports(sql: Sql) -> TripImports:
    from nomadcrew.adapters.postgres.archives import PostgresTripImports

    return PostgresTripImports(sql)


def documents(sql: Sql) -> Documents:
    from nomadcrew.adapters.postgres.documents import PostgresDocuments

    return PostgresDocuments(sql)


def pictures(sql: Sql) -> Pictures:
    from nomadcrew.adapters.postgres.pictures import PostgresPictures

    return PostgresPictures(sql)


def backgrounds(sql: Sql) -> Backgrounds:
    from nomadcrew.adapters.postgres.backgrounds import PostgresBackgrounds

    return PostgresBackgrounds(sql)


def notifications(sql: Sql) -> Notifications:
    from nomadcrew.adapters.postgres.notifications import PostgresNotifications

    return PostgresNotifications(sql)


def push_tokens(sql: Sql) -> PushTokens:
    from nomadcrew.adapters.postgres.push import PostgresPushTokens

    return PostgresPushTokens(sql)


def mirror_source(sql: Sql) -> MirrorSource:
    from nomadcrew.adapters.postgres.mirror import PostgresMirrorSource

    return PostgresMirrorSource(sql)


def positions(sql: Sql) -> Positions:
    from nomadcrew.adapters.postgres.positions import PostgresPositions

    return PostgresPositions(sql)


def location_sharing(sql: Sql) -> LocationSharing:
    from nomadcrew.adapters.postgres.locations import PostgresLocationSharing

    return PostgresLocationSharing(sql)


def position_views(sql: Sql) -> PositionViews:
    from nomadcrew.adapters.postgres.locations import PostgresPositionViews

    return PostgresPositionViews(sql)


def meeting_points(sql: Sql) -> MeetingPoints:
    from nomadcrew.adapters.postgres.locations import PostgresMeetingPoints

    return PostgresMeetingPoints(sql)


def destinations(sql: Sql) -> Destinations:
    from nomadcrew.adapters.postgres.weather import PostgresDestinations

    return PostgresDestinations(sql)


def webhooks(sql: Sql) -> Webhooks:
    from nomadcrew.adapters.postgres.webhooks import PostgresWebhooks

    return PostgresWebhooks(sql)


def retention(sql: Sql) -> Retention:
    from nomadcrew.adapters.postgres.retention import PostgresRetention

    return PostgresRetention(sql)


def erasures(sql: Sql) -> Erasures:
    from nomadcrew.adapters.postgres.erasures import PostgresErasures

    return PostgresErasures(sql)


def job_runs(sql: Sql) -> JobRuns:
    from nomadcrew.adapters.postgres.job_runs import PostgresJobRuns

    return PostgresJobRuns(sql)


# By the names of `Ports`.
SQL_PORTS: Mapping[str, Callable[[Sql], object]] = MappingProxyType(
    {
        make.__name__: make
        for make in (
            api_keys,
            idempotency,
            events,
            profiles,
            totp_factors,
            identities,
            passkeys,
            trips,
            trip_statuses,
            trip_imports,
            trip_exports,
            members,
            invitations,
            todos,
            calendars,
            polls,
            changes,
            sync_points,
            screens,
            versions,
            feedback_box,
            attachments,
            documents,
            pictures,
            backgrounds,
            notifications,
            push_tokens,
            mirror_source,
            positions,
            location_sharing,
            position_views,
            meeting_points,
            destinations,
            webhooks,
            retention,
            erasures,
            job_runs,
        )
    }
)
