"""Request bodies: exact keys first, then keys in any case; every malformed body is `Invalid`."""

from contextlib import suppress
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nomadcrew.core.errors import Invalid
from nomadcrew.web.decode import EACH_ALONE, convert, decode


class Colour(StrEnum):
    RED = "RED"


class Place(msgspec.Struct, rename="camel"):
    place_id: str = ""


class Body(msgspec.Struct, rename="camel"):
    first_name: str
    place: Place | None = None
    colour: Colour | None = None
    starts_at: datetime | None = None
    owner: UUID | None = None
    notes: dict[str, Any] = {}


class Stop(msgspec.Struct, rename="camel"):
    place_id: int
    height: float | None = None


class Journey(msgspec.Struct, rename="camel"):
    starts_at: int | None = None
    height: float = 0.0
    counts: list[int] = []
    first_stop: Stop | None = None
    stops: Annotated[list[Stop | None], msgspec.Meta(max_length=3, extra=EACH_ALONE)] = []
    notes: dict[str, Any] = {}


def refusal(body: bytes) -> Invalid:
    with pytest.raises(Invalid) as caught:
        decode(body, Body)
    return caught.value


def test_exact_keys_are_matched() -> None:
    assert decode(b'{"firstName":"Ana","place":{"placeId":"p"}}', Body) == Body("Ana", Place("p"))


def test_keys_are_matched_in_any_case_at_any_depth() -> None:
    assert decode(b'{"FIRSTNAME":"Ana","Place":{"PLACEID":"p"}}', Body) == Body("Ana", Place("p"))


def test_an_optional_key_in_another_case_is_not_ignored() -> None:
    assert decode(b'{"firstName":"Ana","COLOUR":"RED"}', Body) == Body("Ana", colour=Colour.RED)
    assert refusal(b'{"firstName":"Ana","Colour":"PINK"}').details == "Invalid value - at `$.colour`"


def test_an_exact_key_takes_precedence() -> None:
    assert decode(b'{"firstname":"no","firstName":"Ana","FIRSTNAME":"no"}', Body) == Body("Ana")
    assert decode(b'{"PLACE":{"PLACEID":"no","placeId":"p"},"FIRSTNAME":"Ana"}', Body) == Body("Ana", Place("p"))


def test_unknown_keys_are_ignored() -> None:
    assert decode(b'{"firstName":"Ana","x":1}', Body) == Body("Ana")
    assert decode(b'{"FirstName":"Ana","X":{"y":[1]}}', Body) == Body("Ana")


@pytest.mark.parametrize(
    "body",
    [
        b'{"firstName":"a\\u0000b"}',
        b'{"firstName":"a","notes":{"k":["\\u0000"]}}',
        b'{"firstName":"a","notes":{"\\u0000":1}}',
        b'{"FIRSTNAME":"\\u0000"}',
    ],
)
def test_a_nul_is_refused_anywhere(body: bytes) -> None:
    assert refusal(body).details == "a text contains a NUL character"


def test_an_escaped_backslash_before_u0000_is_not_a_nul() -> None:
    assert decode(rb'{"firstName":"\\u0000"}', Body) == Body("\\u0000")


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"firstName":' + b"[" * 100_000, b'{"a":' * 50_000])
def test_deep_nesting_is_refused(body: bytes) -> None:
    assert refusal(body).details == "the body is nested too deeply"


@pytest.mark.parametrize(
    "body",
    [
        b'{"firstName":"\\ud800}',
        b'{"firstName":"\\ud8"}',
        b'{"firstName":"\xed\xa0\x80"}',
        b'{"firstName":"\xff"}',
        b'{"firstName":1,"x":"\xff"}',
        b'{"\xed\xa0\x80":1,"firstName":1}',
        b'{"firstName":1,"x":NaN}',
        b"[1, NaN",
        b"\xff\xfe",
        b"{",
    ],
)
def test_invalid_json_is_refused_even_after_an_invalid_field(body: bytes) -> None:
    assert refusal(body).details == "the body is not JSON"


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (r"\ud83d", "\ufffd"),
        (r"\uDE00 cut", "\ufffd cut"),
        (r"\udc00\ud800", "\ufffd\ufffd"),
        (r"\ud83d\ud83d\ude00", "\ufffd\U0001f600"),
        (r"\uD83D\uDE00", "\U0001f600"),
        (r"\\ud83d", r"\ud83d"),
        (r"\\\ud83d", "\\\ufffd"),
        (r"\ud83d\n\u00e9\ud7ff\ue000", "\ufffd\n\u00e9\ud7ff\ue000"),
    ],
)
def test_a_lone_surrogate_is_a_replacement_character(sent: str, read: str) -> None:
    assert decode(f'{{"firstName":"{sent}"}}'.encode(), Body) == Body(read)
    assert decode(f'{{"FIRSTNAME":"{sent}","notes":{{"{sent}":1}}}}'.encode(), Body) == Body(read, notes={read: 1})


def test_an_empty_body_is_reported_as_empty() -> None:
    assert refusal(b"").details == "the body is empty"


def test_a_refusal_has_the_path_and_the_code_of_the_contract() -> None:
    error = refusal(b'{"firstName":"a","startsAt":"tomorrow"}')
    assert error.code == "invalid_request_payload"
    assert error.details == "Invalid RFC3339 encoded datetime - at `$.startsAt`"


@pytest.mark.parametrize("field", ["colour", "owner", "startsAt"])
def test_a_refusal_never_repeats_the_input(field: str) -> None:
    error = refusal(f'{{"firstName":"a","{field}":"a secret - at home"}}'.encode())
    assert "secret" not in f"{error.details} {error.text}"
    assert f"$.{field}" in (error.details or "")


@pytest.mark.parametrize(
    ("sent", "cut"),
    [("1795935556020.5", 1795935556020), ("3600.0", 3600), ("1e3", 1000), ("-1.9", -1), ("-0.0", 0),
     ("9007199254740991.0", 2**53 - 1)],
)  # fmt: skip
def test_a_fraction_is_cut_off_where_the_type_has_an_integer(sent: str, cut: int) -> None:
    body = f'{{"startsAt":{sent},"counts":[1,{sent}],"firstStop":{{"placeId":{sent},"height":1.5}}}}'.encode()
    journey = Journey(cut, counts=[1, cut], first_stop=Stop(cut, 1.5))
    assert decode(body, Journey) == journey
    assert convert(msgspec.json.decode(body), Journey) == journey


@pytest.mark.parametrize("sent", ["1e16", "-1e300", "1e999", "NaN", "true", '"1"', "[]", "{}"])
def test_no_integer_is_made_of_anything_else(sent: str) -> None:
    with pytest.raises(Invalid):
        decode(f'{{"startsAt":{sent}}}'.encode(), Journey)


def test_numbers_that_are_no_integers_keep_their_fraction() -> None:
    body = b'{"HEIGHT":1.5,"notes":{"x":1.5},"firstStop":{"placeId":1.5,"height":2.5}}'
    assert decode(body, Journey) == Journey(height=1.5, notes={"x": 1.5}, first_stop=Stop(1, 2.5))


@pytest.mark.parametrize(
    "bad", ['{"placeId":"two"}', "{}", "null", "7", '{"placeId":2,"height":"high"}', '{"placeId":1e300}']
)
def test_an_unreadable_item_of_such_a_list_is_none(bad: str) -> None:
    body = f'{{"stops":[{{"placeId":1}},{bad},{{"PLACEID":3.7}}]}}'.encode()
    assert decode(body, Journey) == Journey(stops=[Stop(1), None, Stop(3)])
    assert convert(msgspec.json.decode(body), Journey) == Journey(stops=[Stop(1), None, Stop(3)])


@pytest.mark.parametrize("stops", ["[1,2,3,4]", "{}", "null", '"all"'])
def test_such_a_list_itself_is_read_strictly(stops: str) -> None:
    with pytest.raises(Invalid):
        decode(f'{{"stops":{stops}}}'.encode(), Journey)


@given(st.binary(max_size=200))
def test_random_bytes_never_crash_it(body: bytes) -> None:
    with suppress(Invalid):
        assert isinstance(decode(body, Body), Body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from(
    [
        "stops",
        "counts",
        "firstStop",
        "firstName",
        "FIRSTNAME",
        "place",
        "PLACE",
        "colour",
        "notes",
        "startsAt",
        "owner",
        "x",
    ]
)


@given(st.dictionaries(KEYS, JSON, max_size=5))
def test_random_objects_never_crash_it(value: dict[str, Any]) -> None:
    with suppress(Invalid):
        assert isinstance(decode(msgspec.json.encode(value), Body), Body)
    with suppress(Invalid):
        assert isinstance(decode(msgspec.json.encode(value), Journey), Journey)
