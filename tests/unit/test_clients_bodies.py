"""The Python client encodes the recorded requests, and decodes the recorded replies and refusals, without loss."""

import inspect
import re
from typing import Any, TypeVar, get_type_hints

import httpx
import msgspec
import pytest
from nomadcrew_client import Refused, models
from nomadcrew_client.calls import Call
from nomadcrew_client.operations import Operations

from clients import generate
from clients.document import Operation, operations_of
from nomadcrew.api import examples

T = TypeVar("T")

EXAMPLES = examples.load()
OPERATIONS = {f"{found.method} {found.path}": found for found in operations_of(generate.api())}
BODIES = {key: body for key, body in EXAMPLES.bodies.items() if key in OPERATIONS and OPERATIONS[key].body}
REPLIES = {
    (key, int(status)): reply
    for key, replies in EXAMPLES.replies.items()
    for status, reply in replies.items()
    if key in OPERATIONS
}
REFUSALS = [(int(status), refusal) for status, codes in EXAMPLES.refusals.items() for refusal in codes.values()]


class Sent(Exception):
    def __init__(self, call: Call[Any]) -> None:
        self.call = call


class Recorder(Operations):
    def _send(self, call: Call[T]) -> T:
        raise Sent(call)


def call_of(operation: Operation, body: object = None) -> Call[Any]:
    """The call that a method makes, with any arguments but the body."""
    method = getattr(Recorder(), operation.name)
    given = {
        name: body if name == "body" else "x"
        for name, parameter in inspect.signature(method).parameters.items()
        if parameter.default is parameter.empty or name == "body"
    }
    with pytest.raises(Sent) as sent:
        method(**given)
    return sent.value.call


def test_there_are_examples() -> None:
    assert len(BODIES) > 50
    assert len(REPLIES) > 100


@pytest.mark.parametrize("key", BODIES)
def test_a_request_is_encoded_as_it_was_recorded(key: str) -> None:
    operation = OPERATIONS[key]
    type_ = get_type_hints(getattr(Operations, operation.name))["body"]
    body = msgspec.convert(BODIES[key], type_)
    request = call_of(operation, body).request(None)
    sent = msgspec.json.decode(request["content"])
    assert f"{request['method']} {request['url']}" == re.sub(r"{\w+}", "x", key)
    assert has(BODIES[key], sent)
    assert msgspec.convert(sent, type_) == body


@pytest.mark.parametrize(("key", "status"), REPLIES)
def test_a_reply_is_decoded_without_loss(key: str, status: int) -> None:
    recorded = REPLIES[key, status]
    response = httpx.Response(status, content=msgspec.json.encode(recorded))
    assert has(in_json(call_of(OPERATIONS[key]).reply(response)), recorded)


@pytest.mark.parametrize(("status", "refusal"), REFUSALS)
def test_a_refusal_has_its_problem(status: int, refusal: dict[str, Any]) -> None:
    call = Call[None]("GET", "/", {204: None})
    with pytest.raises(Refused) as refused:
        call.reply(httpx.Response(status, json=refusal))
    assert isinstance(refused.value.problem, models.Problem)
    assert refused.value.code == refusal["code"]


def in_json(value: object) -> object:
    """A struct with all its fields, by their names in JSON."""
    if isinstance(value, msgspec.Struct):
        fields = {field.encode_name: getattr(value, field.name) for field in msgspec.structs.fields(value)}
        return {name: in_json(field) for name, field in fields.items() if field is not msgspec.UNSET}
    return [in_json(item) for item in value] if isinstance(value, list) else value


def has(more: object, part: object) -> bool:
    """True if each field and item of `part` is in `more`."""
    if isinstance(part, dict) and isinstance(more, dict):
        return all(name in more and has(more[name], field) for name, field in part.items())
    if isinstance(part, list) and isinstance(more, list):
        return len(more) == len(part) and all(map(has, more, part))
    return more == part
