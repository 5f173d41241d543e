"""The API stays compatible: its lines are those of the stored file, and a breaking change is acknowledged."""

import pytest

from tests.api_surface import acknowledged, breaking, current, stored


def test_every_breaking_change_of_the_api_is_acknowledged() -> None:
    assert breaking(stored(), current()) - acknowledged() == set(), "see docs/api-changes.md"


def test_the_stored_lines_are_those_of_the_api() -> None:
    assert current() - stored() == set(), "run `python -m tests.api_surface`"
    assert stored() - current() - breaking(stored(), current()) == set(), "run `python -m tests.api_surface`"


BEFORE = {
    "PUT /x body application/json .a?: string",
    "PUT /x 200 application/json .a: string",
    "PUT /x 200 application/json .b?: string",
    "PUT /x query q?: string",
}


@pytest.mark.parametrize(
    ("lost", "new"),
    [
        ("PUT /x 200 application/json .a: string", "PUT /x 200 application/json .a?: string"),
        ("PUT /x 200 application/json .a: string", "PUT /x 200 application/json .a: integer"),
        ("PUT /x body application/json .a?: string", "PUT /x body application/json .a: string"),
        ("PUT /x query q?: string", "PUT /x query q: string"),
    ],
)
def test_a_lost_or_stricter_line_is_breaking(lost: str, new: str) -> None:
    assert lost in breaking(BEFORE, BEFORE - {lost} | {new})


def test_a_new_required_field_of_a_known_body_is_breaking() -> None:
    line = "PUT /x body application/json .c: string"
    assert breaking(BEFORE, BEFORE | {line}) == {line}


@pytest.mark.parametrize(
    "line",
    [
        "PUT /x 200 application/json .c: string",
        "PUT /x body application/json .c?: string",
        "PUT /x body application/json .c.d: string",
        "PUT /y body application/json .c: string",
        "PUT /x query r?: string",
    ],
)
def test_an_addition_is_not_breaking(line: str) -> None:
    assert breaking(BEFORE, BEFORE | {line}) == set()


def test_a_field_of_a_reply_that_becomes_required_is_not_breaking() -> None:
    lost, new = "PUT /x 200 application/json .b?: string", "PUT /x 200 application/json .b: string"
    assert breaking(BEFORE, BEFORE - {lost} | {new}) == set()
