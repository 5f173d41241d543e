"""Identifiers: their form, and the time in them."""

import time
from functools import reduce
from operator import and_, or_
from uuid import RFC_4122, UUID

import pytest

from nomadcrew.core.ids import derived_id, parse_uuid, uuid7, uuid7_time_s


def test_a_new_id_has_version_7_the_time_and_74_random_bits() -> None:
    before_s = time.time()
    ids = [uuid7() for _ in range(1_000)]
    assert {(id_.version, id_.variant) for id_ in ids} == {(7, RFC_4122)}
    assert all(before_s - 0.001 <= (uuid7_time_s(id_) or 0) <= time.time() for id_ in ids)
    values = [id_.int & (1 << 80) - 1 for id_ in ids]
    assert (reduce(or_, values) ^ reduce(and_, values)).bit_count() == 74


def test_a_derived_id_is_the_same_at_every_repeat_and_has_no_time() -> None:
    cause = uuid7()
    assert derived_id(cause, "a") == derived_id(cause, "a") != derived_id(cause, "b")
    assert derived_id(cause, "a").version == 8
    assert uuid7_time_s(derived_id(cause, "a")) is None


@pytest.mark.parametrize("text", ["", "x" * 36, "0" * 32, "{00000000-0000-7000-8000-000000000000}"])
def test_a_text_in_another_form_is_no_id(text: str) -> None:
    assert parse_uuid(text) is None


def test_an_id_is_parsed_the_same_at_every_repeat() -> None:
    id_ = uuid7()
    assert [parse_uuid(str(id_)), parse_uuid(str(id_).upper()), parse_uuid(str(id_))] == [UUID(int=id_.int)] * 3
