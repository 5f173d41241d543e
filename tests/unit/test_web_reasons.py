"""The sentences that tell users why a body is refused."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
import pytest
from msgspec import Meta

from nomadcrew.api.auth.bodies import LoginIn
from nomadcrew.core.errors import Invalid
from nomadcrew.web.decode import decode


class Place(msgspec.Struct, rename="camel"):
    place_id: str
    latitude: Annotated[float, Meta(ge=-90, lt=90)] = 0


class Body(msgspec.Struct, rename="camel"):
    first_name: Annotated[str, Meta(min_length=1, max_length=5)]
    place: Place | None = None
    starts_at: datetime | None = None
    seats: Annotated[int, Meta(ge=1)] | None = None
    stops: Annotated[list[Place], Meta(max_length=1)] = []
    owner: UUID | None = None
    code: Annotated[str, Meta(pattern="^a")] = "a"


def sentence(body: str, type_: type = Body) -> str:
    with pytest.raises(Invalid) as caught:
        decode(body.encode(), type_)
    return caught.value.text


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("{}", "First name is missing."),
        ('{"firstName":1}', "First name must be a text."),
        ('{"FIRSTNAME":null}', "First name must be a text."),
        ('{"firstName":""}', "First name must not be empty."),
        ('{"firstName":"abcdef"}', "First name must have at most 5 characters."),
        ('{"firstName":"a","place":{}}', "Place: place id is missing."),
        ('{"firstName":"a","place":[]}', "Place must be an object."),
        ('{"firstName":"a","place":{"placeId":"p","latitude":-91}}', "Place latitude must be at least -90."),
        ('{"firstName":"a","place":{"placeId":"p","latitude":90}}', "Place latitude must be less than 90."),
        (
            '{"firstName":"a","startsAt":"tomorrow"}',
            "Starts at must be a date and time, such as 2026-07-01T09:00:00Z.",
        ),
        ('{"firstName":"a","startsAt":true}', "Starts at must be a date and time."),
        ('{"firstName":"a","seats":"1"}', "Seats must be a whole number."),
        ('{"firstName":"a","stops":[{"placeId":"p"},{"placeId":"p"}]}', "Stops must have at most 1 entries."),
        ('{"firstName":"a","stops":[{}]}', "Stops: place id is missing."),
        ('{"firstName":"a","owner":"ana"}', "Owner must be an id."),
        ('{"firstName":"a","code":"b"}', "Code has a value that is not valid."),
        ("[]", "The request must be an object."),
        ("", "The request has no body."),
        ("{", "The request is damaged: its body is not JSON."),
        ('{"firstName":"\\u0000"}', "A text contains a character that cannot be stored."),
    ],
)
def test_the_sentence_names_the_field_and_its_fault(body: str, said: str) -> None:
    assert sentence(body) == said


def test_a_check_of_the_bodys_own_speaks_for_itself() -> None:
    assert sentence('{"password":"p"}', LoginIn) == "Email or username is required."
