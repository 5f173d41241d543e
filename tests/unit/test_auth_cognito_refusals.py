"""The meaning of Cognito's refusals. The emulator knows few of them; codes and texts are those of the service."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

import pytest

from nomadcrew.adapters.aws.cognito.accounts import CognitoAccounts
from nomadcrew.adapters.aws.cognito.user_pool import UserPool
from nomadcrew.adapters.aws.sdk.client import AwsClient, AwsError
from nomadcrew.adapters.postgres.sql import Sql
from nomadcrew.core.auth.model import Account
from nomadcrew.core.auth.ports import Credentials, RegistrationId
from nomadcrew.core.errors import TooMany, Unavailable
from nomadcrew.core.ids import UserId
from nomadcrew.core.users.model import Profile
from tests.fakes import UnexpectedPort

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ANA = UserId(UUID("019a0000-0000-7000-8000-00000000000a"))
PROFILE = Profile(ANA, "ana@example.org", "ana", "", "", "", None, None, {}, NOON, NOON)
FOUND = Credentials("cognito", account=Account(PROFILE, confirmed=True))
CONFIRMED: dict[str, Any] = {
    "verdict": "ok", "id": ANA, "email": "ana@example.org", "username": "ana", "first_name": "", "last_name": "",
    "avatar_url": "", "contact_email": None, "location_privacy_preference": None, "preferences": "{}",
    "created_at": NOON, "updated_at": NOON, "is_admin": False, "confirmed": True, "has_totp": False,
}  # fmt: skip


def refused(code: str, message: str = "") -> AwsError:
    return AwsError(code, 400, message, {})


WRONG = refused("NotAuthorizedException", "Incorrect username or password.")
BAD_HASH = refused("NotAuthorizedException", "Unable to verify secret hash for client 3client")


@dataclass
class Cognito:
    """A fake Cognito that answers each operation with `answers` in turn, and then with an empty reply."""

    answers: dict[str, list[AwsError | dict[str, Any]]] = field(default_factory=dict)
    operations: list[str] = field(default_factory=list)
    usernames: list[str] = field(default_factory=list)

    async def call(self, operation: str, body: Mapping[str, Any], **_: bool) -> dict[str, Any]:
        if operation == "DescribeUserPoolClient":
            return {"UserPoolClient": {"ClientSecret": "secret"}}
        self.operations.append(operation)
        self.usernames.append(body.get("AuthParameters", {}).get("USERNAME", body.get("Username", "")))
        answer = (self.answers.get(operation) or [{}]).pop(0)
        if isinstance(answer, AwsError):
            raise answer
        return answer


class ConfirmingSql:
    async def fetch(self, _statement: object, /, **_: object) -> Sequence[dict[str, Any]]:
        return [CONFIRMED]


def accounts(cognito: Cognito, sql: object = None) -> CognitoAccounts:
    pool = UserPool(cast(AwsClient, cognito), "eu-west-1_abc", "3client")
    passwords = cast(Any, UnexpectedPort("passwords"))
    return CognitoAccounts(
        pool, cast(Sql, sql or UnexpectedPort("sql")), cast(Any, UnexpectedPort("sessions")), passwords
    )


async def checked(*answers: AwsError | dict[str, Any]) -> bool:
    return await accounts(Cognito({"AdminInitiateAuth": list(answers)})).check(FOUND, "Sail2Porto!")


@pytest.mark.parametrize(
    "code", ["NotAuthorizedException", "UserNotFoundException", "PasswordResetRequiredException"]
)
async def test_a_refused_password_is_wrong(code: str) -> None:
    assert not await checked(refused(code, "Incorrect username or password."))


async def test_a_correct_password_is_correct_with_or_without_a_second_factor() -> None:
    assert await checked({"AuthenticationResult": {}})
    assert await checked({"ChallengeName": "SOFTWARE_TOKEN_MFA", "Session": "s"})


async def test_a_temporarily_locked_account_is_reported() -> None:
    with pytest.raises(TooMany) as caught:
        await checked(refused("NotAuthorizedException", "Password attempts exceeded"))
    assert caught.value.code == "too_many_failures"
    assert caught.value.retry_after_s > 0


async def test_a_configuration_error_is_not_a_wrong_password() -> None:
    with pytest.raises(Unavailable):
        await checked(BAD_HASH, BAD_HASH)
    assert await checked(BAD_HASH, {})
    for code in ("InvalidParameterException", "ResourceNotFoundException", "AccessDeniedException"):
        with pytest.raises(AwsError):
            await checked(refused(code))


async def test_an_unknown_login_is_checked_with_a_random_username() -> None:
    cognito = Cognito({"AdminInitiateAuth": [{}, WRONG]})
    # The result is negative even if Cognito accepted the password.
    assert not await accounts(cognito).check(None, "Sail2Porto!")
    assert not await accounts(cognito).check(None, "Sail2Porto!")
    assert len(set(map(UUID, cognito.usernames))) == 2


async def test_signing_in_completes_an_interrupted_confirmation() -> None:
    cognito = Cognito({"AdminInitiateAuth": [refused("UserNotConfirmedException"), {}]})
    assert await accounts(cognito).check(FOUND, "Sail2Porto!")
    assert cognito.operations == ["AdminInitiateAuth", "AdminConfirmSignUp", "AdminInitiateAuth"]
    assert set(cognito.usernames) == {str(ANA)}
    unconfirmable = Cognito({"AdminInitiateAuth": [refused("UserNotConfirmedException")] * 2})
    with pytest.raises(AwsError):
        await accounts(unconfirmable).check(FOUND, "Sail2Porto!")


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        ("AdminConfirmSignUp", "NotAuthorizedException"),
        ("AdminConfirmSignUp", "UserLambdaValidationException"),
        ("AdminConfirmSignUp", "UnexpectedLambdaException"),
        ("AdminUpdateUserAttributes", "AliasExistsException"),
    ],
)
async def test_a_confirmation_succeeds_despite_errors_of_cognito(operation: str, code: str) -> None:
    """The user is confirmed already, a trigger failed, or another user has the alias."""
    cognito = Cognito({operation: [refused(code, "User cannot be confirmed. Current status is CONFIRMED")]})
    account = await accounts(cognito, ConfirmingSql()).confirm(RegistrationId(ANA), "0badcafe", now=NOON)
    assert account.user_id == ANA
    assert cognito.operations == ["AdminConfirmSignUp", "AdminUpdateUserAttributes"]
