"""Texts and JSON without a user who is erased."""

from collections.abc import Sequence
from typing import Any

from nomadcrew.core.archives.model import FORMER_MEMBER
from nomadcrew.core.chat.model import without_mentions
from nomadcrew.core.erasure.model import Person
from nomadcrew.core.ids import UserId

FORMER_NAME = "former-member"  # of a mention
# Keys of names and addresses in JSON end so; under other keys, the same word means something else.
_LABELS = ("name", "Name", "mail", "Mail", "inviter")


def unmentioned(text: str, person: Person) -> str:
    """A text in which the user is not mentioned."""
    return without_mentions(text, person.username, FORMER_NAME) if person.username else text


def impersonal(value: Any, person: Person, stand_in: UserId, label: str = "") -> Any:
    """A JSON value with the id of a former member in the place of the user's, and without names and addresses."""
    match value:
        case dict():
            return {key: impersonal(one, person, stand_in, key) for key, one in value.items()}
        case list():
            return [impersonal(one, person, stand_in, label) for one in value]
        case str() if label.endswith(_LABELS) and value in person.names:
            return FORMER_MEMBER
        case str():
            return unmentioned(value.replace(str(person.id), str(stand_in)), person)
        case _:
            return value


def stand_in_of(value: Any, person: Person) -> UserId:
    """The former member on the trip that a JSON object names, else on the first trip of the user."""
    texts = set(_texts(value))
    named = [trip.stand_in_id for trip in person.trips if str(trip.trip_id) in texts]
    return (named or [person.trips[0].stand_in_id])[0]


def _texts(value: Any) -> Sequence[str]:
    match value:
        case dict():
            return [text for one in value.values() for text in _texts(one)]
        case str():
            return [value]
        case _:
            return []
