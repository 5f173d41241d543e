"""What Cognito asks before it lets somebody sign up or issues tokens. No SQL: Cognito waits five seconds at most.

The pool's only client is `auth`, which checks sessions itself and has Cognito sign: it starts a custom challenge,
and answers it with a secret both share. Tokens that came about in another way are issued without our scope, and
open nothing.
"""

import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Final
from uuid import UUID

from nomadcrew.adapters.aws.cognito.proofs import PURPOSE, SCOPE, claims_in, is_answer

PORTS: Final = ("secret",)
CHALLENGE = "CUSTOM_CHALLENGE"
# `auth` signs people up, and makes accounts as an administrator; nobody comes from elsewhere.
OWN_SIGN_UPS = frozenset({"PreSignUp_SignUp", "PreSignUp_AdminCreateUser"})
OWN_TOKENS = frozenset({"TokenGeneration_Authentication"})

Keys = Callable[[], Sequence[bytes]]


class Refused(Exception):
    """Cognito shows the text to whoever asked, which is `auth`."""


def respond(event: dict[str, Any], keys: Keys) -> dict[str, Any]:
    """The event with our response in it; `keys` is called only where something must be checked.

    Raises:
        Refused: what Cognito is about to do must not happen.
    """
    source = event.get("triggerSource")
    for prefix, trigger in _TRIGGERS.items():
        if isinstance(source, str) and source.startswith(prefix):
            return {**event, "response": trigger(event, keys)}
    raise Refused("Nothing is known about this trigger.")


def _sign_up(event: dict[str, Any], _keys: Keys) -> dict[str, Any]:
    if event["triggerSource"] not in OWN_SIGN_UPS or not _is_uuid(event.get("userName")):
        raise Refused("People register with NomadCrew itself.")
    return {"autoConfirmUser": False, "autoVerifyEmail": False, "autoVerifyPhone": False}


def _define(event: dict[str, Any], _keys: Keys) -> dict[str, Any]:
    """One challenge, one answer."""
    request = _mapping(event, "request")
    rounds = request.get("session")
    rounds = rounds if isinstance(rounds, list) else []
    answered = (
        len(rounds) == 1
        and isinstance(rounds[0], dict)
        and rounds[0].get("challengeName") == CHALLENGE
        and rounds[0].get("challengeResult") is True
    )
    fresh = not rounds and request.get("userNotFound") is not True
    return {
        "challengeName": CHALLENGE if fresh else None,
        "issueTokens": answered,
        "failAuthentication": not fresh and not answered,
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
    """Our scope and claims in the access token, where `auth` asked for it; nothing of ours in the ID token."""
    metadata = _texts(_mapping(_mapping(event, "request"), "clientMetadata"))
    claims = None
    if event["triggerSource"] in OWN_TOKENS and metadata.get("proof"):
        claims = claims_in(keys(), _text(event, "userName"), metadata)
    if claims is None:
        # Should the pool ever give a token this scope by itself, it still goes to nobody else.
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


def _mapping(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def _text(value: Mapping[str, Any], name: str) -> str:
    found = value.get(name)
    return found if isinstance(found, str) else ""


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

    return Secrets(AwsClient(SECRETS), os.environ["NOMADCREW_AWS_SECRET_ARN"])


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """What Cognito calls."""
    return respond(event, lambda: _secrets().keys(PURPOSE))


if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
    # INIT has a whole processor, and the first sign-in has not.
    _secrets()
