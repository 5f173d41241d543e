"""The body of refusals."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Any
from uuid import UUID

import msgspec
import pytest

import nomadcrew.core
from nomadcrew.core import errors
from nomadcrew.core.errors import DomainError
from nomadcrew.core.ids import PollOptionId
from nomadcrew.core.locations.model import Ruling
from nomadcrew.core.polls.model import Option
from nomadcrew.web.problems import JSON_TYPE, STATUS, TYPES, TooLarge, problem, status_of
from tests.fakes import ANA, NOON

for module in pkgutil.walk_packages(nomadcrew.core.__path__, "nomadcrew.core."):
    importlib.import_module(module.name)


def below(kind: type[DomainError]) -> Iterator[type[DomainError]]:
    for child in kind.__subclasses__():
        if child.__module__.startswith("nomadcrew."):
            yield child
        yield from below(child)


KINDS = sorted(set(below(DomainError)), key=lambda kind: kind.__name__)
TRAIN = Option(PollOptionId(UUID(int=1)), "train", 0, ANA, NOON)
SAMPLES: dict[Any, Any] = {
    int: 12, str: "something", object: "something", Ruling: Ruling.IN_FUTURE, Sequence[Option]: [TRAIN],
    bytes: b'{"updatedAt":"2026-07-01T12:00:00Z"}',
}  # fmt: skip


def sample(kind: type[DomainError]) -> DomainError:
    """An instance with sample values for its required arguments."""
    required = [
        parameter
        for parameter in inspect.signature(kind).parameters.values()
        if parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    return kind(*(SAMPLES[parameter.annotation] for parameter in required))


def body_of(error: Exception) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.json.decode(problem(error, "req-1").body)
    return body


@pytest.mark.contract("rest-activity.error-types.fix-200")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_refusal_has_a_status_and_a_complete_body(kind: type[DomainError]) -> None:
    error = sample(kind)
    reply = problem(error, "req-1")
    body = msgspec.json.decode(reply.body)
    assert reply.status == body["status"] == status_of(error)
    assert reply.status in STATUS.values()
    assert reply.headers["content-type"] == JSON_TYPE
    assert body["type"] == TYPES.get(reply.status, "SERVER")
    assert body["title"] == HTTPStatus(reply.status).phrase
    assert body["message"] == body["error"] == body["detail"] == error.text != ""
    assert body["code"] == error.code
    assert body["details"] == (error.details or error.code)
    assert body["request_id"] == "req-1"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_codes_are_lower_case_identifiers(kind: type[DomainError]) -> None:
    assert kind.code.isidentifier()
    assert kind.code == kind.code.lower()


@pytest.mark.contract("rest-activity.error-types")
def test_errors_have_the_status_and_type_of_the_contract() -> None:
    expected = {
        errors.Invalid(): (400, "VALIDATION"),
        errors.Unauthenticated(): (401, "AUTHENTICATION"),
        errors.Forbidden(): (403, "AUTHORIZATION"),
        errors.NotFound("trip"): (404, "NOT_FOUND"),
        errors.Conflict(): (409, "CONFLICT"),
        errors.Gone(): (410, "NOT_FOUND"),
        TooLarge(1): (413, "VALIDATION"),
        errors.Unprocessable(): (422, "VALIDATION"),
        errors.TooMany(3): (429, "RATE_LIMIT"),
        errors.Unavailable(): (503, "SERVER"),
    }
    for error, (status, type_) in expected.items():
        assert (body_of(error)["status"], body_of(error)["type"]) == (status, type_)


@pytest.mark.contract("rest-activity.error-types.fix-details")
@pytest.mark.parametrize(
    "error", [RuntimeError("password=hunter2"), KeyError("secret"), DomainError("bare secret")]
)
def test_the_reply_to_a_bug_holds_no_details(error: Exception) -> None:
    reply = problem(error, "req-1")
    assert reply.status == 500
    body = msgspec.json.decode(reply.body)
    assert (body["type"], body["code"], body["details"]) == ("SERVER", "internal", "internal")
    assert b"secret" not in reply.body
    assert b"hunter2" not in reply.body


def test_a_temporary_refusal_has_retry_after() -> None:
    assert problem(errors.TooMany(12), "r").headers["retry-after"] == "12"
    assert body_of(errors.TooMany(12))["details"] == "retry_after: 12 seconds"
    assert problem(errors.Unavailable(), "r").headers["retry-after"] == "2"
    assert "retry-after" not in problem(errors.Conflict(), "r").headers


def test_only_an_expired_token_requests_a_refresh() -> None:
    assert body_of(errors.Unauthenticated(code="token_expired"))["refresh_required"] is True
    assert "refresh_required" not in body_of(errors.Unauthenticated())


@pytest.mark.contract("rest-activity.unknown-id")
def test_an_unknown_id_is_reported_in_the_form_that_the_app_reads() -> None:
    assert body_of(errors.NotFound("Trip", 7)) | {"request_id": ""} == {
        "type": "NOT_FOUND",
        "title": "Not Found",
        "status": 404,
        "detail": "Trip not found",
        "message": "Trip not found",
        "error": "Trip not found",
        "code": "not_found",
        "details": "ID: 7",
        "request_id": "",
    }
