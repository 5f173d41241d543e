"""The members of a trip as one of them sees them: state updated by events, and its rendering in a terminal."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from nomadcrew.core.locations.geometry import LatLon, distance_m
from nomadcrew.core.notifications.texts import sent_file

GREEN, GREY, BOLD, PLAIN = "\x1b[32m", "\x1b[90m", "\x1b[1m", "\x1b[0m"
HEAD = ("who", "where", "to go", "", "last message")
NARROWEST = 20  # columns of the last message


@dataclass(slots=True)
class Person:
    """One member."""

    name: str
    is_online: bool = False
    last_seen_at: datetime | None = None
    position: LatLon | None = None
    last_message: str = ""


@dataclass(slots=True)
class MeetingPoint:
    name: str
    position: LatLon
    radius_m: float


@dataclass(slots=True)
class CrewView:
    """The members of a trip, by user id."""

    trip: str = ""
    people: dict[str, Person] = field(default_factory=dict)
    meeting_point: MeetingPoint | None = None

    def load(
        self,
        trip: Mapping[str, Any],
        members: Iterable[Mapping[str, Any]],
        positions: Iterable[Mapping[str, Any]],
        presence: Iterable[Mapping[str, Any]],
        messages: Iterable[Mapping[str, Any]],
        meeting_point: Mapping[str, Any] | None,
    ) -> None:
        """Replace the state by the API's replies; `messages` are newest first."""
        self.trip = trip["name"]
        self.people = {member["membership"]["userId"]: Person(_name(member["user"])) for member in members}
        for position in positions:
            self._move(position["userId"], position["location"])
        for state in presence:
            self._set_presence(state)
        for message in messages:
            person = self.people.get(message["sender"]["id"])
            if person is not None and not person.last_message:
                person.last_message = message["content"] or sent_file(message.get("attachment"))
        self.meeting_point = None if meeting_point is None else _meeting_point(meeting_point)

    def take(self, event: Mapping[str, Any]) -> bool:
        """Apply an event; False if the view has to be reloaded."""
        type_, payload = event["type"], event.get("payload") or {}
        if type_ == "LOCATION_UPDATED":
            self._move(payload["userId"], payload["location"])
        elif type_ == "PRESENCE_CHANGED":
            self._set_presence(payload)
        elif type_ == "CHAT_MESSAGE_SENT":
            person = self.people.get(payload["user"]["id"])
            if person is not None:
                person.last_message = payload["content"] or sent_file(payload.get("attachment"))
        else:
            return not type_.startswith(
                ("MEMBER_", "MEETING_POINT_", "LOCATION_SHARING_", "TRIP_", "CHAT_MESSAGE_")
            )
        return True

    def lines(self, now: datetime, *, columns: int, colours: bool) -> list[str]:
        """The table, cut to `columns`."""
        title = self.trip
        if self.meeting_point is not None:
            title += f" · meeting at {self.meeting_point.name or _degrees(self.meeting_point.position)}"
        rows = [
            HEAD,
            *(self._row(person, now) for person in sorted(self.people.values(), key=lambda person: person.name)),
        ]
        widths = [max(_width(row[column]) for row in rows) for column in range(len(HEAD) - 1)]
        last = max(NARROWEST, columns - sum(widths) - 2 * len(widths))
        lines = []
        for number, row in enumerate(rows):
            cells = [_fit(cell, width) for cell, width in zip(row[:-1], widths, strict=True)]
            line = "  ".join([*cells, _fit(row[-1], last)]).rstrip()
            lines.append(_coloured(line, number, row) if colours else line)
        return [f"{BOLD}{title}{PLAIN}" if colours else title, "", *lines]

    def _row(self, person: Person, now: datetime) -> Sequence[str]:
        position = "–" if person.position is None else _degrees(person.position)
        return person.name, position, self._to_go(person), _presence(person, now), person.last_message

    def _to_go(self, person: Person) -> str:
        if person.position is None or self.meeting_point is None:
            return "–"
        left_m = distance_m(person.position, self.meeting_point.position)
        return "there" if left_m <= self.meeting_point.radius_m else _metres(left_m)

    def _move(self, user_id: str, location: Mapping[str, Any]) -> None:
        person = self.people.get(user_id)
        if person is not None:
            person.position = (location["latitude"], location["longitude"])

    def _set_presence(self, presence: Mapping[str, Any]) -> None:
        person = self.people.get(presence["userId"])
        if person is not None:
            person.is_online = presence["isOnline"]
            at = presence.get("lastSeenAt")
            person.last_seen_at = None if at is None else datetime.fromisoformat(at).astimezone(UTC)


def _name(user: Mapping[str, Any]) -> str:
    return str(user.get("firstName") or user["username"])


def _meeting_point(view: Mapping[str, Any]) -> MeetingPoint:
    return MeetingPoint(view["name"], (view["latitude"], view["longitude"]), view["radius"])


def _degrees(position: LatLon) -> str:
    return f"{position[0]:.4f} {position[1]:.4f}"


def _metres(distance: float) -> str:
    return f"{distance:.0f} m" if distance < 1_000 else f"{distance / 1_000:.1f} km"


def _presence(person: Person, now: datetime) -> str:
    if person.is_online:
        return "online"
    if person.last_seen_at is None:
        return ""
    minutes = max(0, int((now - person.last_seen_at).total_seconds() // 60))
    if minutes < 60:
        return f"{minutes} min ago"
    return f"{minutes // 60} h ago" if minutes < 48 * 60 else f"{minutes // 1_440} days ago"


def _width(text: str) -> int:
    """Columns that a text takes in a terminal: wide characters take two, combining marks none."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def _fit(text: str, width: int) -> str:
    """A text in exactly `width` columns, in one line and without control characters."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    if _width(plain) > width:
        while _width(plain) > width - 1:
            plain = plain[:-1]
        plain += "…"
    return plain + " " * (width - _width(plain))


def _coloured(line: str, number: int, row: Sequence[str]) -> str:
    if number == 0:
        return f"{GREY}{line}{PLAIN}"
    return line.replace(" online ", f" {GREEN}online{PLAIN} ", 1) if row[3] == "online" else line
