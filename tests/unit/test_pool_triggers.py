"""What the user pool's triggers answer, to Cognito's events and to what nobody expects."""

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


def untouched() -> NoReturn:
    raise AssertionError("the secret was fetched for nothing")


def event(source: str, request: Any = None, username: Any = ANA) -> dict[str, Any]:
    """As the Cognito developer guide has it."""
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


def answered(source: str, request: Any = None, username: Any = ANA) -> dict[str, Any]:
    asked = event(source, request, username)
    whole = respond(copy.deepcopy(asked), keys)
    assert {**whole, "response": {}} == asked
    json.dumps(whole)
    response: dict[str, Any] = whole["response"]
    return response


@pytest.mark.parametrize("source", ["PreSignUp_SignUp", "PreSignUp_AdminCreateUser"])
def test_who_registers_with_us_is_neither_confirmed_nor_verified(source: str) -> None:
    response = respond(event(source), untouched)["response"]
    assert response == {"autoConfirmUser": False, "autoVerifyEmail": False, "autoVerifyPhone": False}


@pytest.mark.parametrize("username", ["ana", "", None, 7, f"{{{ANA}}}", ANA.replace("-", ""), "ana@example.org"])
def test_a_user_with_a_name_of_another_form_does_not_sign_up(username: Any) -> None:
    with pytest.raises(Refused):
        respond(event("PreSignUp_SignUp", username=username), untouched)


@pytest.mark.parametrize("source", ["PreSignUp_ExternalProvider", "PreSignUp_", "PreSignUp_SomethingNew"])
def test_nobody_comes_from_elsewhere(source: str) -> None:
    with pytest.raises(Refused):
        respond(event(source), untouched)


@pytest.mark.parametrize(
    "source", ["UserMigration_Authentication", "", None, 7, [], "PostConfirmation_ConfirmSignUp"]
)
def test_an_unknown_trigger_lets_nothing_happen(source: Any) -> None:
    with pytest.raises(Refused):
        respond(event(source), untouched)
    with pytest.raises(Refused):
        respond({}, untouched)


def round_of(result: Any, name: str = "CUSTOM_CHALLENGE") -> dict[str, Any]:
    return {"challengeName": name, "challengeResult": result, "challengeMetadata": "NOMADCREW"}


def test_a_sign_in_takes_one_challenge() -> None:
    source = "DefineAuthChallenge_Authentication"
    first = answered(source, {"session": []})
    assert first == {"challengeName": "CUSTOM_CHALLENGE", "issueTokens": False, "failAuthentication": False}
    right = answered(source, {"session": [round_of(True)]})
    assert right == {"challengeName": None, "issueTokens": True, "failAuthentication": False}


@pytest.mark.parametrize(
    "request_",
    [
        {"session": [round_of(False)]},
        {"session": [round_of(None)]},
        {"session": [round_of("true")]},
        {"session": [round_of(1)]},
        {"session": [round_of(True, "SRP_A")]},
        {"session": [round_of(True, "PASSWORD_VERIFIER")]},
        {"session": [round_of(False), round_of(True)]},
        {"session": [round_of(True), round_of(True)]},
        {"session": [None]},
        {"session": ["CUSTOM_CHALLENGE"]},
        {"session": [], "userNotFound": True},
    ],
    ids=str,
)
def test_anything_else_than_one_right_answer_ends_the_sign_in(request_: Any) -> None:
    response = answered("DefineAuthChallenge_Authentication", request_)
    assert response == {"challengeName": None, "issueTokens": False, "failAuthentication": True}


@pytest.mark.parametrize("request_", ODD, ids=str)
def test_odd_requests_get_no_tokens(request_: Any) -> None:
    asked = {**event("DefineAuthChallenge_Authentication"), "request": request_}
    assert respond(asked, untouched)["response"]["issueTokens"] is False
    asked["triggerSource"] = "VerifyAuthChallengeResponse_Authentication"
    assert respond(asked, keys)["response"] == {"answerCorrect": False}
    asked["triggerSource"] = "TokenGeneration_Authentication"
    assert_without_our_scope(respond(asked, untouched)["response"])


def test_every_challenge_is_another() -> None:
    made = [answered("CreateAuthChallenge_Authentication") for _ in range(3)]
    assert all(each["publicChallengeParameters"] == each["privateChallengeParameters"] for each in made)
    assert len({each["publicChallengeParameters"]["nonce"] for each in made}) == 3


def verdict(answer: Any, *, nonce: Any = "nonce", username: Any = ANA) -> bool:
    request = {"privateChallengeParameters": {"nonce": nonce}, "challengeAnswer": answer}
    correct: bool = answered("VerifyAuthChallengeResponse_Authentication", request, username)["answerCorrect"]
    return correct


def test_the_answer_is_of_this_user_and_this_challenge() -> None:
    good = answer_to(KEY, ANA, "nonce")
    assert verdict(good)
    assert verdict(answer_to(OLDER, ANA, "nonce"))
    assert not verdict(good, nonce="another")
    assert not verdict(good, username=SID)
    assert not verdict(answer_to(b"guessed", ANA, "nonce"))
    assert not verdict(metadata_for(KEY, ANA, "nonce", is_admin=False)["proof"])


@pytest.mark.parametrize("answer", ["", None, 7, True, [], {}, "é", "\ud800", "0" * 64, "x" * 100_000], ids=repr)
def test_odd_answers_are_wrong(answer: Any) -> None:
    assert not verdict(answer)


def test_without_a_challenge_no_answer_is_right() -> None:
    for nonce in ("", None, 7):
        assert not verdict(answer_to(KEY, ANA, ""), nonce=nonce)


def assert_without_our_scope(response: dict[str, Any]) -> None:
    [(kind, access)] = response["claimsAndScopeOverrideDetails"].items()
    assert kind == "accessTokenGeneration"
    assert access == {"scopesToSuppress": [SCOPE]}


def tokens_for(metadata: Any, source: str = "TokenGeneration_Authentication") -> dict[str, Any]:
    return answered(source, {"scopes": ["aws.cognito.signin.user.admin"], "clientMetadata": metadata})


@pytest.mark.parametrize("is_admin", [False, True])
def test_a_token_that_was_asked_for_gets_our_scope_and_session(is_admin: bool) -> None:
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
def test_tokens_that_come_about_otherwise_open_nothing(source: str) -> None:
    assert_without_our_scope(tokens_for(metadata_for(KEY, ANA, SID, is_admin=False), source))


def test_what_nobody_sealed_gets_into_no_token() -> None:
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


def test_the_secret_is_not_fetched_for_password_checks() -> None:
    assert_without_our_scope(respond(event("TokenGeneration_Authentication"), untouched)["response"])


def test_parts_of_a_seal_do_not_run_into_each_other() -> None:
    moved = metadata_for(KEY, ANA, SID, is_admin=True)
    assert claims_in([KEY], ANA + SID[:4], {**moved, "sid": SID[4:]}) is None
    assert claims_in([KEY], ANA, moved) == {"sid": SID, "is_admin": "true"}


def test_the_triggers_load_next_to_nothing() -> None:
    """Cognito waits five seconds for a cold start and all the rest."""
    probe = "import sys; import nomadcrew.hosts.aws.functions.cognito_triggers; print(*sorted(sys.modules))"
    environment = {"AWS_LAMBDA_FUNCTION_NAME": "pool", "NOMADCREW_AWS_SECRET_ARN": "arn"}
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
