"""Bodies of the notification preferences."""

from datetime import datetime
from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from nomadcrew.core.clock import in_utc
from nomadcrew.core.notifications.preferences import ChatLevel, Preferences, QuietHours, TripPreferences

Text = Annotated[str, Meta(max_length=100)]
Moment = Annotated[datetime, Meta(tz=True)]


class QuietHoursView(Struct, rename="camel"):
    """`start` and `end` as `HH:MM` in an IANA time zone. An end before the start means the next day."""

    start: Text
    end: Text
    time_zone: Text


class PreferencesView(Struct, rename="camel"):
    """`push`, `inApp` and `email` switch channels; the other fields switch kinds of notifications.

    `email` switches mails that remind of documents, not those for invitations and accounts.
    """

    push: bool
    email: bool
    in_app: bool
    chat: ChatLevel
    trip_updates: bool
    todos: bool
    polls: bool
    location_sharing: bool
    arrivals: bool
    documents: bool
    quiet_hours: QuietHoursView | None


class PreferencesIn(Struct, rename="camel"):
    """Fields to change. Omitted fields stay unchanged; a null `quietHours` removes the quiet hours."""

    push: bool | UnsetType = UNSET
    email: bool | UnsetType = UNSET
    in_app: bool | UnsetType = UNSET
    chat: ChatLevel | UnsetType = UNSET
    trip_updates: bool | UnsetType = UNSET
    todos: bool | UnsetType = UNSET
    polls: bool | UnsetType = UNSET
    location_sharing: bool | UnsetType = UNSET
    arrivals: bool | UnsetType = UNSET
    documents: bool | UnsetType = UNSET
    quiet_hours: QuietHoursView | UnsetType | None = UNSET

    def switches(self) -> dict[str, Any]:
        """Changes to the settings that the shipped app knows."""
        chat: bool | UnsetType = UNSET if self.chat is UNSET else self.chat is not ChatLevel.NONE
        return _given(push=self.push, email=self.email, tripUpdates=self.trip_updates, chatMessages=chat)

    def details(self) -> dict[str, Any]:
        """Changes to the settings that the shipped app does not know.

        Raises:
            Invalid: the quiet hours are malformed.
        """
        return _given(
            inApp=self.in_app,
            chat=UNSET if self.chat in (UNSET, ChatLevel.NONE) else self.chat,
            todos=self.todos,
            polls=self.polls,
            locationSharing=self.location_sharing,
            arrivals=self.arrivals,
            documents=self.documents,
            quietHours=self.quiet_hours if not isinstance(self.quiet_hours, QuietHoursView) else self._hours(),
        )

    def _hours(self) -> dict[str, str]:
        assert isinstance(self.quiet_hours, QuietHoursView)
        hours = self.quiet_hours
        QuietHours.parse(hours.start, hours.end, hours.time_zone)
        return {"start": hours.start, "end": hours.end, "timeZone": hours.time_zone}


class TripPreferencesView(Struct, rename="camel"):
    """A trip's preferences: muted until `mutedUntil`, and the trip's own `chat` level.

    A null `chat` means the level of the user's preferences.
    """

    muted_until: Moment | None = None
    chat: ChatLevel | None = None

    def wanted(self) -> TripPreferences:
        """The preferences in the body.

        Raises:
            Invalid: `mutedUntil` is out of range in UTC.
        """
        until = None if self.muted_until is None else in_utc(self.muted_until, "mutedUntil")
        return TripPreferences(until, self.chat)


def preferences_view(preferences: Preferences) -> PreferencesView:
    hours = preferences.quiet_hours
    return PreferencesView(
        push=preferences.push,
        email=preferences.email,
        in_app=preferences.in_app,
        chat=preferences.chat,
        trip_updates=preferences.trip_updates,
        todos=preferences.todos,
        polls=preferences.polls,
        location_sharing=preferences.location_sharing,
        arrivals=preferences.arrivals,
        documents=preferences.documents,
        quiet_hours=None
        if hours is None
        else QuietHoursView(f"{hours.start:%H:%M}", f"{hours.end:%H:%M}", hours.time_zone),
    )


def trip_preferences_view(preferences: TripPreferences) -> TripPreferencesView:
    return TripPreferencesView(preferences.muted_until, preferences.chat)


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not UNSET}
