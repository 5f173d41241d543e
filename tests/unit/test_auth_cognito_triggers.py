"""The user pool's triggers: answers to events of Cognito and to unexpected input."""

import copy
import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import pytest

from nomadcrew.adapters.aws.cognito.proofs import SCOPE, answer_to, claims_in, metadata_for
from nomadcrew.hosts.aws.functions.cognito_triggers import Refused, respond

KEY, OLDER = b"k" * 32, b"o" * 32
ANA = "019a0000-0000-7000-8000-00000000000a"
SID = "019a0000-0000-7000-8000-0000000000ff"
ODD = [None, 7, "text", [], ["x"], {}, {"session": None}, {"session": 7}, {"clientMetadata": "x"}, True]


def keys() -> Sequence[bytes]:
    return (KEY, OLDER)


def no_secret() -> NoReturn:
    raise AssertionError("the secret was fetched without need")


def event(source: str, request: Any = None, username: Any = ANA) -> dict[str, Any]:
    """An event as in the Cognito developer guide."""
    return {
        "version": "1",
        "triggerSource": source,
        "region": "eu-west-1",
        "userPoolId": "eu-west-1_abc",
        "userName": username,
        "callerContext": {"awsSdkVersion": "aws-sdk-unknown-unknown", "clientId": "client"},
        "request": {"userAttributes": {"sub": "7b1c", "email": "ana@example.org"}} if request is None else request,
        "response": {},
    }


def response_to(source: str, request: Any = None, username: Any = ANA) -> dict[str, Any]:
    request_event = event(source, request, username)
    reply = respond(copy.deepcopy(request_event), keys)
    assert {**reply, "response": {}} == request_event
    json.dumps(reply)
    response: dict[str, Any] = reply["response"]
    return response


@pytest.mark.parametrize("source", ["PreSignUp_SignUp", "PreSignUp_AdminCreateUser"])
def test_a_sign_up_is_neither_confirmed_nor_verified(source: str) -> None:
    response = respond(event(source), no_secret)["response"]
    assert response == {"autoConfirmUser": False, "autoVerifyEmail": False, "autoVerifyPhone": False}


@pytest.mark.parametrize("username", ["ana", "", None, 7, f"{{{ANA}}}", ANA.replace("-", ""), "ana@example.org"])
def test_a_sign_up_with_a_username_that_is_not_an_id_is_refused(username: Any) -> None:
    with pytest.raises(Refused):
        respond(event("PreSignUp_SignUp", username=username), no_secret)


@pytest.mark.parametrize("source", ["PreSignUp_ExternalProvider", "PreSignUp_", "PreSignUp_SomethingNew"])
def test_users_of_external_providers_are_refused(source: str) -> None:
    with pytest.raises(Refused):
        respond(event(source), no_secret)


@pytest.mark.parametrize(
    "source", ["UserMigration_Authentication", "", None, 7, [], "PostConfirmation_ConfirmSignUp"]
)
def test_an_unknown_trigger_is_refused(source: Any) -> None:
    with pytest.raises(Refused):
        respond(event(source), no_secret)
    with pytest.raises(Refused):
        respond({}, no_secret)


def challenge_result(result: Any, name: str = "CUSTOM_CHALLENGE") -> dict[str, Any]:
    return {"challengeName": name, "challengeResult": result, "challengeMetadata": "NOMADCREW"}


def test_a_sign_in_needs_one_challenge() -> None:
    source = "DefineAuthChallenge_Authentication"
    first = response_to(source, {"session": []})
    assert first == {"challengeName": "CUSTOM_CHALLENGE", "issueTokens": False, "failAuthentication": False}
    right = response_to(source, {"session": [challenge_result(True)]})
    assert right == {"challengeName": None, "issueTokens": True, "failAuthentication": False}


@pytest.mark.parametrize(
    "request_",
    [
        {"session": [challenge_result(False)]},
        {"session": [challenge_result(None)]},
        {"session": [challenge_result("true")]},
        {"session": [challenge_result(1)]},
        {"session": [challenge_result(True, "SRP_A")]},
        {"session": [challenge_result(True, "PASSWORD_VERIFIER")]},
        {"session": [challenge_result(False), challenge_result(True)]},
        {"session": [challenge_result(True), challenge_result(True)]},
        {"session": [None]},
        {"session": ["CUSTOM_CHALLENGE"]},
        {"session": [], "userNotFound": True},
    ],
    ids=str,
)
def test_anything_but_one_correct_answer_ends_the_sign_in(request_: Any) -> None:
    response = response_to("DefineAuthChallenge_Authentication", request_)
    assert response == {"challengeName": None, "issueTokens": False, "failAuthentication": True}


@pytest.mark.parametrize("request_", ODD, ids=str)
def test_malformed_requests_get_no_tokens(request_: Any) -> None:
    request_event = {**event("DefineAuthChallenge_Authentication"), "request": request_}
    assert respond(request_event, no_secret)["response"]["issueTokens"] is False
    request_event["triggerSource"] = "VerifyAuthChallengeResponse_Authentication"
    assert respond(request_event, keys)["response"] == {"answerCorrect": False}
    request_event["triggerSource"] = "TokenGeneration_Authentication"
    assert_without_our_scope(respond(request_event, no_secret)["response"])


def test_every_challenge_is_unique() -> None:
    challenges = [response_to("CreateAuthChallenge_Authentication") for _ in range(3)]
    assert all(
        challenge["publicChallengeParameters"] == challenge["privateChallengeParameters"]
        for challenge in challenges
    )
    assert len({challenge["publicChallengeParameters"]["nonce"] for challenge in challenges}) == 3


def verdict(answer: Any, *, nonce: Any = "nonce", username: Any = ANA) -> bool:
    request = {"privateChallengeParameters": {"nonce": nonce}, "challengeAnswer": answer}
    correct: bool = response_to("VerifyAuthChallengeResponse_Authentication", request, username)["answerCorrect"]
    return correct


def test_an_answer_is_valid_for_its_user_and_challenge_only() -> None:
    good = answer_to(KEY, ANA, "nonce")
    assert verdict(good)
    assert verdict(answer_to(OLDER, ANA, "nonce"))
    assert not verdict(good, nonce="another")
    assert not verdict(good, username=SID)
    assert not verdict(answer_to(b"guessed", ANA, "nonce"))
    assert not verdict(metadata_for(KEY, ANA, "nonce", is_admin=False)["proof"])


@pytest.mark.parametrize("answer", ["", None, 7, True, [], {}, "é", "\ud800", "0" * 64, "x" * 100_000], ids=repr)
def test_malformed_answers_are_wrong(answer: Any) -> None:
    assert not verdict(answer)


def test_an_answer_without_a_challenge_is_wrong() -> None:
    for nonce in ("", None, 7):
        assert not verdict(answer_to(KEY, ANA, ""), nonce=nonce)


def assert_without_our_scope(response: dict[str, Any]) -> None:
    [(kind, access)] = response["claimsAndScopeOverrideDetails"].items()
    assert kind == "accessTokenGeneration"
    assert access == {"scopesToSuppress": [SCOPE]}


def tokens_for(metadata: Any, source: str = "TokenGeneration_Authentication") -> dict[str, Any]:
    return response_to(source, {"scopes": ["aws.cognito.signin.user.admin"], "clientMetadata": metadata})


@pytest.mark.parametrize("is_admin", [False, True])
def test_a_requested_token_gets_our_scope_and_session(is_admin: bool) -> None:
    response = tokens_for(metadata_for(KEY, ANA, SID, is_admin=is_admin))
    claims = {"sid": SID} | ({"is_admin": "true"} if is_admin else {})
    access = {"claimsToAddOrOverride": claims, "scopesToAdd": [SCOPE]}
    assert response == {"claimsAndScopeOverrideDetails": {"accessTokenGeneration": access}}


@pytest.mark.parametrize(
    "source",
    [
        "TokenGeneration_HostedAuth",
        "TokenGeneration_NewPasswordChallenge",
        "TokenGeneration_AuthenticateDevice",
        "TokenGeneration_RefreshTokens",
        "TokenGeneration_ClientCredentials",
    ],
)
def test_tokens_from_other_flows_get_no_scope(source: str) -> None:
    assert_without_our_scope(tokens_for(metadata_for(KEY, ANA, SID, is_admin=False), source))


def test_claims_without_a_valid_proof_are_ignored() -> None:
    good = metadata_for(KEY, ANA, SID, is_admin=False)
    for forged in (
        {},
        {"sid": SID},
        good | {"is_admin": "true"},
        good | {"sid": ANA},
        good | {"proof": ""},
        good | {"proof": answer_to(KEY, ANA, SID)},
        metadata_for(b"guessed", ANA, SID, is_admin=True),
        metadata_for(KEY, SID, SID, is_admin=True),
        good | {"proof": 7},
        good | {"sid": None},
    ):
        assert_without_our_scope(tokens_for(forged))
    assert (
        "scopesToAdd"
        in tokens_for(good | {"another": "word"})["claimsAndScopeOverrideDetails"]["accessTokenGeneration"]
    )


def test_a_password_check_does_not_fetch_the_secret() -> None:
    assert_without_our_scope(respond(event("TokenGeneration_Authentication"), no_secret)["response"])


def test_the_parts_of_a_proof_are_separated() -> None:
    moved = metadata_for(KEY, ANA, SID, is_admin=True)
    assert claims_in([KEY], ANA + SID[:4], {**moved, "sid": SID[4:]}) is None
    assert claims_in([KEY], ANA, moved) == {"sid": SID, "is_admin": "true"}


def test_the_triggers_import_few_modules() -> None:
    """Cognito waits five seconds for the reply, cold start included."""
    probe = "import sys; import nomadcrew.hosts.aws.functions.cognito_triggers; print(*sorted(sys.modules))"
    environment = {"AWS_LAMBDA_FUNCTION_NAME": "pool", "NOMADCREW_AWS_SECRET_PROOFS_ARN": "arn"}
    run = subprocess.run(
        [sys.executable, "-I", "-c", probe], env=environment, capture_output=True, text=True, check=True
    )
    loaded = set(run.stdout.split())
    assert not {
        name for name in loaded if name.partition(".")[0] in ("asyncpg", "joserfc", "cryptography", "jinja2")
    }
    ours = {name for name in loaded if name.startswith("nomadcrew.") and name.count(".") > 1}
    assert ours <= {
        "nomadcrew.adapters.aws",
        "nomadcrew.adapters.aws.cognito",
        "nomadcrew.adapters.aws.sdk",
        "nomadcrew.adapters.aws.sdk.client",
        "nomadcrew.adapters.aws.cognito.proofs",
        "nomadcrew.adapters.aws.sdk.secrets",
        "nomadcrew.adapters.aws.sdk.services",
        "nomadcrew.adapters.aws.sdk.signing",
        "nomadcrew.core.errors",
        "nomadcrew.hosts.aws",
        "nomadcrew.hosts.aws.functions",
        "nomadcrew.hosts.aws.functions.cognito_triggers",
    }
