"""Auth on an emulated account: a user pool with deployed triggers, and the tables."""

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import nomadcrew
from nomadcrew.adapters.aws.cognito.accounts import CognitoAccounts
from nomadcrew.adapters.aws.cognito.issuer import pool_verifier
from nomadcrew.adapters.aws.cognito.tokens import CognitoTokens
from nomadcrew.adapters.aws.cognito.unconfirmed import CognitoUnconfirmedRegistrations
from nomadcrew.adapters.aws.cognito.user_pool import UserPool
from nomadcrew.adapters.aws.dynamodb.open_sessions import DynamoOpenSessions
from nomadcrew.adapters.aws.dynamodb.profile_cache import CachedProfiles
from nomadcrew.adapters.aws.dynamodb.sessions import DynamoSessions, OnEnd
from nomadcrew.adapters.aws.sdk.secrets import Secrets
from nomadcrew.adapters.aws.sdk.services import COGNITO, DYNAMODB, SECRETS
from nomadcrew.adapters.jwt.verifier import TokenVerifier
from nomadcrew.adapters.postgres.accounts import Passwords, PostgresAccounts
from nomadcrew.adapters.postgres.profiles import PostgresProfiles
from nomadcrew.adapters.postgres.sql import Sql
from nomadcrew.core.clock import utc_now
from tests.emulator import Aws

SOURCE = Path(nomadcrew.__file__).parent
KEY, PROOFS_KEY = "k" * 64, "p" * 64


@dataclass(frozen=True, slots=True)
class AwsAuth:
    """The resources of the infrastructure, and adapters for them."""

    aws: Aws
    pool_id: str
    client_id: str
    codes_arn: str
    proofs_arn: str
    sessions_table: str
    profiles_table: str

    def pool(self) -> UserPool:
        return UserPool(self.aws.client(COGNITO), self.pool_id, self.client_id)

    def secrets(self) -> Secrets:
        return Secrets(self.aws.client(SECRETS), self.codes_arn)

    def proofs(self) -> Secrets:
        return Secrets(self.aws.client(SECRETS), self.proofs_arn)

    def tokens(self) -> CognitoTokens:
        return CognitoTokens(self.pool(), self.secrets(), self.proofs(), environment=self.aws.environment)

    def verifier(self) -> TokenVerifier:
        """The verifier of the authorizer."""
        return pool_verifier(self.pool_id, self.client_id, environment=self.aws.environment)

    def sessions(self, sql: Sql, passwords: Passwords, on_end: OnEnd | None = None) -> DynamoSessions:
        find = PostgresAccounts(sql, passwords).get_account
        return DynamoSessions(self.aws.client(DYNAMODB), self.sessions_table, self.secrets(), find, on_end=on_end)

    def open_sessions(self) -> DynamoOpenSessions:
        return DynamoOpenSessions(self.aws.client(DYNAMODB), self.sessions_table)

    def accounts(self, sql: Sql, passwords: Passwords) -> CognitoAccounts:
        return CognitoAccounts(self.pool(), sql, self.sessions(sql, passwords), passwords)

    def abandoned(self, sql: Sql) -> CognitoUnconfirmedRegistrations:
        return CognitoUnconfirmedRegistrations(self.pool(), sql)

    def profiles(self, sql: Sql) -> CachedProfiles:
        table = self.profiles_table
        return CachedProfiles(PostgresProfiles(sql), self.aws.client(DYNAMODB), table, clock=utc_now)


@pytest.fixture(scope="session")
def aws_auth(aws: Aws) -> AwsAuth:
    """One pool and one set of tables for the session; tests use unique user ids."""
    codes, proofs = (
        aws.boto("secretsmanager").create_secret(
            Name=f"auth-tests-{name}", SecretString=json.dumps({"key": key, "older": []})
        )["ARN"]
        for name, key in (("codes", KEY), ("proofs", PROOFS_KEY))
    )
    trigger = _function(aws, "auth-tests-pool", proofs)
    pool_id, client_id = _pool(aws, trigger)
    return AwsAuth(aws, pool_id, client_id, codes, proofs, _sessions_table(aws), _profiles_table(aws))


def _function(aws: Aws, name: str, secret: str) -> str:
    """Deploy `hosts/aws/functions/cognito_triggers.py` with exactly its rights."""
    iam = aws.boto("iam")
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=_policy(trust))["Role"]["Arn"]
    right = {"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": secret}
    iam.put_role_policy(RoleName=name, PolicyName="secret", PolicyDocument=_policy(right))
    made = aws.boto("lambda").create_function(
        FunctionName=name,
        Runtime="python3.13",
        Role=role,
        Handler="nomadcrew.hosts.aws.functions.cognito_triggers.handler",
        Code={"ZipFile": _zip()},
        Timeout=5,
        MemorySize=256,
        Environment={"Variables": {"NOMADCREW_AWS_SECRET_PROOFS_ARN": secret}},
    )
    return str(made["FunctionArn"])


def _policy(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _zip() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in SOURCE.rglob("*.py"):
            archive.write(path, Path("nomadcrew") / path.relative_to(SOURCE))
    return data.getvalue()


def _pool(aws: Aws, trigger: str) -> tuple[str, str]:
    cognito = aws.boto("cognito-idp")
    classes = dict.fromkeys(("RequireUppercase", "RequireLowercase", "RequireNumbers", "RequireSymbols"), True)
    pool_id = cognito.create_user_pool(
        PoolName="auth-tests",
        AliasAttributes=["email", "preferred_username"],
        UsernameConfiguration={"CaseSensitive": False},
        Schema=[
            {"Name": name, "AttributeDataType": "String", "Mutable": True, "Required": True}
            for name in ("email", "given_name", "family_name")
        ],
        Policies={"PasswordPolicy": {"MinimumLength": 8, **classes}},
        LambdaConfig={
            "PreSignUp": trigger,
            "DefineAuthChallenge": trigger,
            "CreateAuthChallenge": trigger,
            "VerifyAuthChallengeResponse": trigger,
            "PreTokenGenerationConfig": {"LambdaVersion": "V2_0", "LambdaArn": trigger},
        },
        UserPoolTier="ESSENTIALS",
    )["UserPool"]["Id"]
    client = cognito.create_user_pool_client(
        UserPoolId=pool_id,
        ClientName="auth",
        GenerateSecret=True,
        ExplicitAuthFlows=["ALLOW_ADMIN_USER_PASSWORD_AUTH", "ALLOW_CUSTOM_AUTH"],
        AccessTokenValidity=15,
        TokenValidityUnits={"AccessToken": "minutes"},
        PreventUserExistenceErrors="ENABLED",
        EnableTokenRevocation=True,
    )["UserPoolClient"]
    return str(pool_id), str(client["ClientId"])


def _sessions_table(aws: Aws) -> str:
    return _table(
        aws,
        "AuthTestsSessions",
        ("userId", "sessionId"),
        "expiresAt",
        AttributeDefinitions=[
            {"AttributeName": name, "AttributeType": "S"} for name in ("userId", "sessionId", "sessionToken")
        ],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "SessionByToken",
                "KeySchema": [{"AttributeName": "sessionToken", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
        ],
    )


def _profiles_table(aws: Aws) -> str:
    attributes = [{"AttributeName": "userId", "AttributeType": "S"}]
    return _table(aws, "AuthTestsProfiles", ("userId",), "ttl", AttributeDefinitions=attributes)


def _table(aws: Aws, name: str, key: tuple[str, ...], ttl: str, **options: Any) -> str:
    dynamodb = aws.boto("dynamodb")
    kinds = ("HASH", "RANGE")
    schema = [{"AttributeName": part, "KeyType": kind} for part, kind in zip(key, kinds, strict=False)]
    dynamodb.create_table(TableName=name, BillingMode="PAY_PER_REQUEST", KeySchema=schema, **options)
    dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": ttl})
    return name
