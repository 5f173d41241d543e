"""The limits of JSON bodies: no body that the API takes is too large, and none stops the event loop for long."""

import gc
import time
import types
from collections.abc import Callable
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
import pytest

from nomadcrew.api.locations.bodies import BatchIn
from nomadcrew.api.locations.routes import MAX_BATCH_BYTES
from nomadcrew.api.table import ALL_ROUTES
from nomadcrew.api.trips.bodies import NewTripIn
from nomadcrew.core.chat.model import MAX_TEXT
from nomadcrew.core.errors import Invalid
from nomadcrew.core.users.rules import MAX_PREFERENCES_BYTES
from nomadcrew.web.decode import decode
from nomadcrew.web.routes import MAX_BODY_BYTES, Route

# A surrogate pair, as a client escapes one that writes ASCII only.
CHARACTER = len(r"\ud83d\ude00")
NUMBER = 28  # a sign, seventeen digits, a point, an exponent, and some spaces
SCALAR = 48  # an id or a time
# The same text, escaped: two bytes become six, four become twelve.
PREFERENCES = 3 * MAX_PREFERENCES_BYTES
WITH_JSON = [route for route in ALL_ROUTES if route.body is not None and not route.raw]


def longest(type_: Any, max_text: int = MAX_TEXT) -> int:
    """The bytes of the longest JSON of a type that can be valid, without spaces; a bound, not an exact number."""
    kind = get_origin(type_)
    if kind is Annotated:
        inner, *notes = get_args(type_)
        limits = [note.max_length for note in notes if isinstance(note, msgspec.Meta) and note.max_length]
        if get_origin(inner) is list:
            [item] = get_args(inner)
            return limits[0] * (longest(item) + 1) + 2
        return longest(inner, *limits)
    if kind in (Union, types.UnionType):
        return max(longest(option, max_text) for option in get_args(type_))
    if kind is dict:
        return PREFERENCES
    if kind is Literal or (isinstance(type_, type) and issubclass(type_, Enum)):
        values = get_args(type_) or [member.value for member in type_]
        return max(len(value) + 2 for value in values)
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        fields = msgspec.structs.fields(type_)
        return 2 + sum(len(field.encode_name) + 4 + longest(field.type) for field in fields)
    if type_ is str:
        return 2 + CHARACTER * max_text
    if type_ in (bool, types.NoneType):
        return len("false")
    return NUMBER if type_ in (int, float) else SCALAR


@pytest.mark.parametrize("route", WITH_JSON, ids=lambda route: route.key)
def test_the_longest_valid_body_is_not_too_large(route: Route) -> None:
    assert longest(route.body) <= route.max_body_bytes


def repeated(item: bytes, size: int, start: bytes = b"[", end: bytes = b"]") -> bytes:
    """A list of as many items as `size` bytes can have."""
    return start + b",".join([item] * ((size - len(start) - len(end)) // (len(item) + 1))) + end


BATCH = (b'{"locations":[', b"]}")
COSTLY = {
    "deep lists": repeated(b"[" * 900 + b"]" * 900, MAX_BODY_BYTES),
    "empty lists": repeated(b"[]", MAX_BODY_BYTES),
    "keys": b"{" + b",".join(b'"%x":0' % n for n in range(13_000)) + b"}",
    "numbers near zero": repeated(b"7e-324", MAX_BATCH_BYTES),
    "long numbers near zero": repeated(b"1.7976931348623157e-300", MAX_BATCH_BYTES),
    "long integers": repeated(b"7" * 4_299, MAX_BATCH_BYTES),
    "escapes": b'["' + b"\\n" * (MAX_BODY_BYTES // 2 - 8) + b'\\ud83d"]',
    "escaped backslashes": b'["' + rb"\\a" * (MAX_BODY_BYTES // 3 - 8) + b'\\ud83d"]',
    "lone surrogates": b'["' + rb"\ud83d" * (MAX_BODY_BYTES // 6 - 2) + b'"]',
    "unreadable positions": repeated(b"0", MAX_BATCH_BYTES, *BATCH),
    "empty positions": repeated(b"{}", MAX_BATCH_BYTES, *BATCH),
    "lists for positions": repeated(b"[[[]]]", MAX_BATCH_BYTES, *BATCH),
}


def least_cpu_s(work: Callable[[], object]) -> float:
    def used_s() -> float:
        started_s = time.process_time()
        work()
        return time.process_time() - started_s

    return min(used_s() for _ in range(3))


@pytest.fixture(scope="module")
def counting_s() -> float:
    """The CPU that counting to two million takes on this machine: about a tenth of a second."""
    return least_cpu_s(lambda: sum(1 for _ in range(2_000_000)))


@pytest.mark.parametrize("type_", [NewTripIn, BatchIn])
@pytest.mark.parametrize("body", COSTLY.values(), ids=COSTLY.keys())
def test_no_body_costs_more_than_counting_to_two_million(body: bytes, type_: Any, counting_s: float) -> None:
    def refused() -> None:
        with pytest.raises(Invalid):
            decode(body, type_)

    # As in both hosts, collections do not look through all older objects.
    gc.collect()
    gc.freeze()
    try:
        assert least_cpu_s(refused) < counting_s
    finally:
        gc.unfreeze()


def test_a_batch_of_too_many_positions_is_refused_for_their_number() -> None:
    with pytest.raises(Invalid) as refusal:
        decode(repeated(b"0", 2_000, *BATCH), BatchIn)
    assert refusal.value.details == "Expected `array` of length <= 500 - at `$.locations`"
    largest = BATCH[0] + b",".join([b"0"] * 500) + BATCH[1]
    assert decode(largest, BatchIn).locations == [None] * 500


@pytest.mark.parametrize("number", ["7e-324", "-1.7976931348623157E+308", "0.1", "5e-1", "-0.0", "1e22"])
def test_numbers_are_read_exactly(number: str) -> None:
    assert decode(f'{{"x":{number}}}'.encode(), dict[str, Any]) == {"x": float(number)}


@pytest.mark.parametrize("number", ["1e309", "-1e309", "1e999999999"])
def test_a_number_out_of_range_is_refused(number: str) -> None:
    with pytest.raises(Invalid):
        decode(f'{{"x":{number}}}'.encode(), dict[str, Any])
