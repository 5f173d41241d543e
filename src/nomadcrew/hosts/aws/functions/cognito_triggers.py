"""Cognito triggers for sign-ups and tokens. They use no SQL: Cognito waits five seconds at most.

The pool's only client is `auth`, which checks sessions itself and lets Cognito sign tokens: it starts a custom
challenge and answers it with a shared secret. Tokens issued in any other way lack our scope and are refused
everywhere.
"""

import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Final
from uuid import UUID

from nomadcrew.adapters.aws.cognito.proofs import PURPOSE, SCOPE, claims_in, is_answer

PORTS: Final = ("secret_proofs",)
CHALLENGE = "CUSTOM_CHALLENGE"
# `auth` signs users up, or creates them as an administrator; every other source is refused.
OWN_SIGN_UPS = frozenset({"PreSignUp_SignUp", "PreSignUp_AdminCreateUser"})
OWN_TOKENS = frozenset({"TokenGeneration_Authentication"})

Keys = Callable[[], Sequence[bytes]]


class Refused(Exception):
    """The trigger refuses. Cognito passes the text on to its client, `auth`."""


def respond(event: dict[str, Any], keys: Keys) -> dict[str, Any]:
    """The event with our response. `keys` is called only if a proof must be checked.

    Raises:
        Refused: Cognito must not go on.
    """
    source = event.get("triggerSource")
    for prefix, trigger in _TRIGGERS.items():
        if isinstance(source, str) and source.startswith(prefix):
            return {**event, "response": trigger(event, keys)}
    raise Refused("Unknown trigger.")


def _sign_up(event: dict[str, Any], _keys: Keys) -> dict[str, Any]:
    if event["triggerSource"] not in OWN_SIGN_UPS or not _is_uuid(event.get("userName")):
        raise Refused("Users must register through NomadCrew.")
    return {"autoConfirmUser": False, "autoVerifyEmail": False, "autoVerifyPhone": False}


def _define(event: dict[str, Any], _keys: Keys) -> dict[str, Any]:
    """Issue one challenge; after one correct answer issue tokens, else fail."""
    request = _mapping(event, "request")
    rounds = request.get("session")
    rounds = rounds if isinstance(rounds, list) else []
    is_answered = (
        len(rounds) == 1
        and isinstance(rounds[0], dict)
        and rounds[0].get("challengeName") == CHALLENGE
        and rounds[0].get("challengeResult") is True
    )
    is_first = not rounds and request.get("userNotFound") is not True
    return {
        "challengeName": CHALLENGE if is_first else None,
        "issueTokens": is_answered,
        "failAuthentication": not is_first and not is_answered,
    }


def _create(_event: dict[str, Any], _keys: Keys) -> dict[str, Any]:
    nonce = secrets.token_urlsafe(24)
    return {
        "publicChallengeParameters": {"nonce": nonce},
        "privateChallengeParameters": {"nonce": nonce},
        "challengeMetadata": "NOMADCREW",
    }


def _verify(event: dict[str, Any], keys: Keys) -> dict[str, Any]:
    request = _mapping(event, "request")
    nonce = _text(_mapping(request, "privateChallengeParameters"), "nonce")
    answer, username = _text(request, "challengeAnswer"), _text(event, "userName")
    return {"answerCorrect": is_answer(keys(), username, nonce, answer)}


def _tokens(event: dict[str, Any], keys: Keys) -> dict[str, Any]:
    """Add our scope and claims to the access token if `auth` asked for it. The ID token gets neither."""
    metadata = _texts(_mapping(_mapping(event, "request"), "clientMetadata"))
    claims = None
    if event["triggerSource"] in OWN_TOKENS and metadata.get("proof"):
        claims = claims_in(keys(), _text(event, "userName"), metadata)
    if claims is None:
        # Suppress the scope explicitly, in case the pool is ever configured to add it.
        return {"claimsAndScopeOverrideDetails": {"accessTokenGeneration": {"scopesToSuppress": [SCOPE]}}}
    access = {"claimsToAddOrOverride": claims, "scopesToAdd": [SCOPE]}
    return {"claimsAndScopeOverrideDetails": {"accessTokenGeneration": access}}


_TRIGGERS: Final[Mapping[str, Callable[[dict[str, Any], Keys], dict[str, Any]]]] = {
    "PreSignUp_": _sign_up,
    "DefineAuthChallenge_": _define,
    "CreateAuthChallenge_": _create,
    "VerifyAuthChallengeResponse_": _verify,
    "TokenGeneration_": _tokens,
}


def _mapping(parent: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = parent.get(name)
    return value if isinstance(value, dict) else {}


def _text(parent: Mapping[str, Any], name: str) -> str:
    value = parent.get(name)
    return value if isinstance(value, str) else ""


def _texts(value: Mapping[str, Any]) -> dict[str, str]:
    return {name: text for name, text in value.items() if isinstance(text, str)}


def _is_uuid(value: object) -> bool:
    try:
        return isinstance(value, str) and str(UUID(value)) == value.lower()
    except ValueError:
        return False


@cache
def _secrets() -> Any:
    from nomadcrew.adapters.aws.sdk.client import AwsClient
    from nomadcrew.adapters.aws.sdk.secrets import Secrets
    from nomadcrew.adapters.aws.sdk.services import SECRETS

    return Secrets(AwsClient(SECRETS), os.environ["NOMADCREW_AWS_SECRET_PROOFS_ARN"])


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """The Lambda entry that Cognito calls."""
    return respond(event, lambda: _secrets().keys(PURPOSE))


if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
    # INIT has a full CPU; the first sign-in does not.
    _secrets()
