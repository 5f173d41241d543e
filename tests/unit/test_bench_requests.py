"""Templates become the requests that wrk sends."""

import json
from collections import Counter

import pytest

from bench.requests import SCHEDULED, BadTemplate, Person, Template, fill, first, lua, schedule

TODO = Template("POST", "/v1/trips/{trip}/todos", {"text": "pack {unique}"})
PEOPLE = [Person(f"token{user}", [{"trip": f"trip{user}{number}"} for number in range(2)]) for user in range(3)]


def test_a_request_has_the_length_of_its_body() -> None:
    body = '{"at": {now_ms-2000}, "text": "{unique} für {trip}"}'
    sent = first(fill(Template("POST", "/x", body), "t", {"trip": "é"}), 7, 1_700_000_000_000)
    head, _, sent_body = sent.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(sent_body)}".encode() in head
    assert json.loads(sent_body) == {"at": 1_699_999_998_000, "text": "0000000000007 für é"}


def test_a_request_without_a_body_has_no_length() -> None:
    sent = first(fill(Template("GET", "/v1/trips"), "t", {}), 1, 1)
    assert sent == b"GET /v1/trips HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer t\r\n\r\n"


@pytest.mark.parametrize("fields", [{}, {"trip": ("a", "bcd")}])
def test_a_field_that_is_missing_or_differs_in_length_is_refused(fields: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(BadTemplate):
        fill(Template("POST", "/x", {"id": "{trip}"}), "t", fields)


def test_kinds_come_in_proportion_and_all_users_and_trips_take_turns() -> None:
    templates = {"todo": TODO, "trips": Template("GET", "/v1/trips")}
    requests = schedule(templates, {"todo": 1, "trips": 3}, PEOPLE)
    lines = Counter(first(request, 1, 1).split(b" HTTP")[0] for request in requests)
    assert lines.pop(b"GET /v1/trips") == SCHEDULED * 3 / 4
    assert len(lines) == 6
    assert max(lines.values()) - min(lines.values()) <= 1
    assert requests == schedule(templates, {"todo": 1, "trips": 3}, PEOPLE)


def test_equal_requests_share_the_values_of_a_field_in_order() -> None:
    messages = tuple(f"{number:05}" for number in range(SCHEDULED + 100))
    requests = schedule(
        {"read": Template("GET", "/{message}")}, {"read": 1}, [Person("t", [{"message": messages}])]
    )
    sent = [first(request, 1, 1)[5:10].decode() for request in requests]
    assert sent == list(messages[:SCHEDULED])
    assert requests[3][1] == ("00003", f"{SCHEDULED + 3:05}")


def test_texts_are_quoted_for_lua() -> None:
    assert lua([['a"\\\r\n\u00e9', True, 2000, ("x", "y")]]) == (
        'return {\n{"a\\034\\092\\013\\010\\195\\169",true,2000,{"x","y"}},\n}\n'
    )
