"""The auth adapters work with exactly the rights they are granted, and fail without any of them."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from nomadcrew.adapters.aws.cognito.accounts import CognitoAccounts
from nomadcrew.adapters.aws.cognito.tokens import CognitoTokens
from nomadcrew.adapters.aws.cognito.unconfirmed import CognitoUnconfirmedRegistrations
from nomadcrew.adapters.aws.cognito.user_pool import UserPool
from nomadcrew.adapters.aws.dynamodb.profile_cache import CachedProfiles
from nomadcrew.adapters.aws.dynamodb.sessions import DynamoSessions
from nomadcrew.adapters.aws.sdk.client import AwsClient, AwsError
from nomadcrew.adapters.aws.sdk.secrets import Secrets
from nomadcrew.adapters.aws.sdk.services import COGNITO, DYNAMODB, SECRETS, Service
from nomadcrew.adapters.postgres.database import Database
from nomadcrew.adapters.postgres.profiles import PostgresProfiles
from nomadcrew.core.auth.model import Session
from nomadcrew.core.auth.ports import RegistrationId
from nomadcrew.core.clock import utc_now
from nomadcrew.core.errors import DomainError
from nomadcrew.core.ids import EventId, SessionId, uuid7
from nomadcrew.core.users.ports import ContactEmailCodeId, ProfileChange
from tests.contract.auth_ports import NOON, PASSWORD, cheap_passwords, new_account
from tests.contract.aws_auth import AwsAuth

ACCOUNTS = (
    "cognito-idp:AdminConfirmSignUp",
    "cognito-idp:AdminCreateUser",
    "cognito-idp:AdminDeleteUser",
    "cognito-idp:AdminInitiateAuth",
    "cognito-idp:AdminSetUserPassword",
    "cognito-idp:AdminUpdateUserAttributes",
    "cognito-idp:DescribeUserPoolClient",
    "cognito-idp:ListUsers",
)
TOKENS = (
    "cognito-idp:AdminInitiateAuth",
    "cognito-idp:AdminRespondToAuthChallenge",
    "cognito-idp:DescribeUserPoolClient",
)
SESSIONS = (
    "dynamodb:ConditionCheckItem",
    "dynamodb:GetItem",
    "dynamodb:PutItem",
    "dynamodb:Query",
    "dynamodb:UpdateItem",
)
PROFILE_CACHE = ("dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem")
SECRET = ("secretsmanager:GetSecretValue",)
LIFETIME = timedelta(days=30)


class Role:
    """Clients of a role that has the granted rights, except `without`."""

    def __init__(self, aws_auth: AwsAuth, without: str | None = None) -> None:
        self.aws_auth = aws_auth
        aws = aws_auth.aws
        iam, name = aws.boto("iam"), f"identity-{uuid7()}"
        trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=_policy([trust]))["Role"]["Arn"]
        pool = aws.boto("cognito-idp").describe_user_pool(UserPoolId=aws_auth.pool_id)["UserPool"]["Arn"]
        dynamodb = aws.boto("dynamodb")
        sessions, profiles = (
            dynamodb.describe_table(TableName=table)["Table"]["TableArn"]
            for table in (aws_auth.sessions_table, aws_auth.profiles_table)
        )
        grants = (
            ({*ACCOUNTS, *TOKENS}, pool),
            (SESSIONS, sessions),
            (PROFILE_CACHE, profiles),
            (SECRET, aws_auth.codes_arn),
            (SECRET, aws_auth.proofs_arn),
        )
        statements = [
            {"Effect": "Allow", "Action": sorted(set(actions) - {without}), "Resource": resource}
            for actions, resource in grants
            if set(actions) - {without}
        ]
        iam.put_role_policy(RoleName=name, PolicyName="aws_auth", PolicyDocument=_policy(statements))
        made = aws.boto("sts").assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
        self._environment = {
            **aws.environment,
            "AWS_ACCESS_KEY_ID": made["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"],
            "AWS_SESSION_TOKEN": made["SessionToken"],
        }
        self._clients: dict[Service, AwsClient] = {}

    def client(self, service: Service) -> AwsClient:
        if service not in self._clients:
            self._clients[service] = AwsClient(service, environment=self._environment)
        return self._clients[service]

    def close(self) -> None:
        for client in self._clients.values():
            client.close()

    async def use_everything(self, sql: Database) -> None:
        """Use every operation of the auth adapters once."""
        aws_auth, passwords = self.aws_auth, cheap_passwords()
        secrets, proofs = (Secrets(self.client(SECRETS), arn) for arn in (aws_auth.codes_arn, aws_auth.proofs_arn))
        pool = UserPool(self.client(COGNITO), aws_auth.pool_id, aws_auth.client_id)
        dynamodb = self.client(DYNAMODB)

        async def find(user_id: Any) -> Any:
            return await accounts.get_account(user_id)

        sessions = DynamoSessions(dynamodb, aws_auth.sessions_table, secrets, find)
        accounts = CognitoAccounts(pool, sql, sessions, passwords)
        tokens = CognitoTokens(pool, secrets, proofs, environment=aws_auth.aws.environment)
        profiles = CachedProfiles(PostgresProfiles(sql), dynamodb, aws_auth.profiles_table, clock=utc_now)
        id_, stale = RegistrationId(uuid7()), RegistrationId(uuid7())
        await accounts.request(new_account("ana"), PASSWORD, id_, EventId(uuid7()), now=NOON)
        ana = await accounts.confirm(id_, "0badcafe", now=NOON)
        await accounts.request(new_account("ben"), PASSWORD, stale, EventId(uuid7()), now=NOON)
        await accounts.register(new_account("cem"), PASSWORD, confirmed=True, now=NOON)
        assert await accounts.check(await accounts.find("ana", now=NOON), PASSWORD)
        session = Session(SessionId(uuid7()), ana, NOON + LIFETIME)
        first, second, third = (f"{n}{id_.hex}".encode() for n in range(3))
        await sessions.open(session, first, now=NOON)
        await tokens.issue(ana, session.id, now=NOON)
        for _ in range(2):
            await sessions.rotate(first, second, now=NOON, expires_at=NOON + LIFETIME)
        await sessions.rotate(second, third, now=NOON, expires_at=NOON + LIFETIME)
        await accounts.set_password(ana.user_id, "Another2pass!", now=NOON)
        assert await sessions.close(third, now=NOON) == session.id
        await profiles.get(ana.user_id, ana.user_id)
        await profiles.change(
            ana.user_id, ProfileChange(first_name="Ana"), ana.user_id, is_admin=False, now=utc_now()
        )
        await profiles.set_contact_email(
            ana.user_id,
            "ana@relay.example",
            code_id=ContactEmailCodeId(uuid7()),
            event_id=EventId(uuid7()),
            now=utc_now(),
        )
        await CognitoUnconfirmedRegistrations(pool, sql).delete_expired(now=utc_now() + timedelta(days=9))


@pytest.fixture
def roles(aws_auth: AwsAuth) -> Iterator[Any]:
    made: list[Role] = []

    def make(without: str | None = None) -> Role:
        made.append(Role(aws_auth, without))
        return made[-1]

    yield make
    for role in made:
        role.close()


def _policy(statements: list[dict[str, Any]]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


async def test_the_granted_rights_are_sufficient(
    roles: Any, pool: Database, caplog: pytest.LogCaptureFixture
) -> None:
    await roles().use_everything(pool)
    assert not [record for record in caplog.records if record.name.startswith("nomadcrew")]


# A missing right for aliases or the profile cache is only logged, because both are optional.
NECESSARY = sorted({*ACCOUNTS, *TOKENS, *SECRET, *SESSIONS} - {"cognito-idp:AdminUpdateUserAttributes"})


@pytest.mark.parametrize("right", NECESSARY)
async def test_every_granted_right_is_necessary(roles: Any, pool: Database, right: str) -> None:
    with pytest.raises((AwsError, DomainError)):
        await roles(right).use_everything(pool)
