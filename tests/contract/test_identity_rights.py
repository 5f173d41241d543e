"""That identity works with exactly the rights it is given, and not without any of them."""

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
from nomadcrew.core.users.ports import ProfileChange
from tests.contract.aws_identity import Identity
from tests.contract.people import NOON, PASSWORD, a_new, cheap_passwords

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
    """Clients with the rights of a role that may do so much and no more."""

    def __init__(self, identity: Identity, without: str | None = None) -> None:
        self.identity = identity
        aws = identity.aws
        iam, name = aws.boto("iam"), f"identity-{uuid7()}"
        trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=_policy([trust]))["Role"]["Arn"]
        pool = aws.boto("cognito-idp").describe_user_pool(UserPoolId=identity.pool_id)["UserPool"]["Arn"]
        dynamodb = aws.boto("dynamodb")
        sessions, profiles = (
            dynamodb.describe_table(TableName=table)["Table"]["TableArn"]
            for table in (identity.sessions_table, identity.profiles_table)
        )
        grants = (
            ({*ACCOUNTS, *TOKENS}, pool),
            (SESSIONS, sessions),
            (PROFILE_CACHE, profiles),
            (SECRET, identity.secret_arn),
        )
        statements = [
            {"Effect": "Allow", "Action": sorted(set(actions) - {without}), "Resource": resource}
            for actions, resource in grants
            if set(actions) - {without}
        ]
        iam.put_role_policy(RoleName=name, PolicyName="identity", PolicyDocument=_policy(statements))
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

    async def live_a_life(self, sql: Database) -> None:
        """Everything identity does, once."""
        identity, passwords = self.identity, cheap_passwords()
        secrets = Secrets(self.client(SECRETS), identity.secret_arn)
        pool = UserPool(self.client(COGNITO), identity.pool_id, identity.client_id)
        dynamodb = self.client(DYNAMODB)

        async def find(user_id: Any) -> Any:
            return await accounts.get_account(user_id)

        sessions = DynamoSessions(dynamodb, identity.sessions_table, secrets, find)
        accounts = CognitoAccounts(pool, sql, sessions, passwords)
        tokens = CognitoTokens(pool, secrets, environment=identity.aws.environment)
        profiles = CachedProfiles(PostgresProfiles(sql), dynamodb, identity.profiles_table, clock=utc_now)
        id_, stale = RegistrationId(uuid7()), RegistrationId(uuid7())
        await accounts.request(a_new("ana"), PASSWORD, id_, EventId(uuid7()), now=NOON)
        ana = await accounts.confirm(id_, "0badcafe", now=NOON)
        await accounts.request(a_new("ben"), PASSWORD, stale, EventId(uuid7()), now=NOON)
        await accounts.register(a_new("cem"), PASSWORD, confirmed=True, now=NOON)
        assert await accounts.check(await accounts.find("ana", now=NOON), PASSWORD)
        session = Session(SessionId(uuid7()), ana, NOON + LIFETIME)
        first, second, third = (f"{n}{id_.hex}".encode() for n in range(3))
        await sessions.open(session, first, now=NOON)
        await tokens.issue(ana, session.id, now=NOON)
        await sessions.rotate(first, second, now=NOON, expires_at=NOON + LIFETIME)
        await sessions.rotate(first, third, now=NOON, expires_at=NOON + LIFETIME)
        await accounts.set_password(ana.user_id, "Another2pass!", now=NOON)
        assert await sessions.close(third, now=NOON) == session.id
        await profiles.get(ana.user_id, ana.user_id)
        await profiles.change(
            ana.user_id, ProfileChange(first_name="Ana"), ana.user_id, is_admin=False, now=utc_now()
        )
        await profiles.set_contact_email(ana.user_id, "ana@relay.example", now=utc_now())
        await CognitoUnconfirmedRegistrations(pool, sql).delete_expired(now=utc_now() + timedelta(days=9))


@pytest.fixture
def roles(identity: Identity) -> Iterator[Any]:
    made: list[Role] = []

    def make(without: str | None = None) -> Role:
        made.append(Role(identity, without))
        return made[-1]

    yield make
    for role in made:
        role.close()


def _policy(statements: list[dict[str, Any]]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


async def test_the_rights_that_are_listed_are_enough(
    roles: Any, pool: Database, caplog: pytest.LogCaptureFixture
) -> None:
    await roles().live_a_life(pool)
    assert not [record for record in caplog.records if record.name.startswith("nomadcrew")]


# But for those that are missed in the log only: a cache and aliases are good to have, and no more.
MISSED = sorted({*ACCOUNTS, *TOKENS, *SECRET, *SESSIONS} - {"cognito-idp:AdminUpdateUserAttributes"})


@pytest.mark.parametrize("right", MISSED)
async def test_none_of_them_is_too_much(roles: Any, pool: Database, right: str) -> None:
    with pytest.raises((AwsError, DomainError)):
        await roles(right).live_a_life(pool)
