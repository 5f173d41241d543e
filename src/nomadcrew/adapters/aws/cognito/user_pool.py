"""A Cognito user pool and its only client, for sign-ins."""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from nomadcrew.adapters.aws.sdk.client import AwsClient, AwsError
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.ids import UserId


class UserPool:
    """Calls on a user pool. The client's secret is fetched once: it is in no template or environment variable."""

    def __init__(self, client: AwsClient, pool_id: str, client_id: str) -> None:
        self.id = pool_id
        self.client_id = client_id
        self._client = client
        self._secret: bytes | None = None

    async def admin(self, operation: str, username: str, **body: Any) -> dict[str, Any]:
        """An `Admin…` operation on one user.

        Raises:
            AwsError: Cognito refused.
            Unavailable: Cognito could not be reached.
        """
        return await self._client.call(operation, {"UserPoolId": self.id, "Username": username, **body})

    async def call(self, operation: str, **body: Any) -> dict[str, Any]:
        """An operation on the pool. Raises: see `admin`."""
        return await self._client.call(operation, {"UserPoolId": self.id, **body})

    async def sign_up(self, username: str, password: str, attributes: Mapping[str, str]) -> None:
        """Create an unconfirmed user. Raises: see `admin`."""
        await self._authenticated(
            "SignUp",
            lambda proof: {
                "ClientId": self.client_id,
                "SecretHash": proof,
                "Username": username,
                "Password": password,
                "UserAttributes": attribute_list(attributes),
            },
            username,
        )

    async def begin(
        self, flow: str, username: str, params: Mapping[str, str], metadata: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Start a sign-in. Raises: see `admin`."""
        return await self._authenticated(
            "AdminInitiateAuth",
            lambda proof: {
                "UserPoolId": self.id,
                "ClientId": self.client_id,
                "AuthFlow": flow,
                "AuthParameters": {**params, "USERNAME": username, "SECRET_HASH": proof},
                **({"ClientMetadata": dict(metadata)} if metadata else {}),
            },
            username,
        )

    async def answer(
        self, challenge: str, session: str, username: str, answer: str, metadata: Mapping[str, str]
    ) -> dict[str, Any]:
        """Answer a challenge. Raises: see `admin`."""
        return await self._authenticated(
            "AdminRespondToAuthChallenge",
            lambda proof: {
                "UserPoolId": self.id,
                "ClientId": self.client_id,
                "ChallengeName": challenge,
                "Session": session,
                "ChallengeResponses": {"USERNAME": username, "ANSWER": answer, "SECRET_HASH": proof},
                "ClientMetadata": dict(metadata),
            },
            username,
        )

    async def _authenticated(self, operation: str, body: Any, username: str) -> dict[str, Any]:
        """A call with the client's secret hash; retried once with the new secret after a rotation."""
        for last in (False, True):
            try:
                # SignUp is open to all clients; the pool's trigger refuses sign-ups that lack our proof.
                signed = operation != "SignUp"
                proven = body(await self._proof(username))
                return await self._client.call(operation, proven, repeatable=False, signed=signed)
            except AwsError as refused:
                # Cognito uses the code of a wrong password; only the text differs, and this error is ours.
                if refused.code != "NotAuthorizedException" or "secret" not in refused.message.lower():
                    raise
                self._secret = None
                if last:
                    raise Unavailable(details="cognito-idp: client secret refused") from refused
        raise AssertionError("unreachable")

    async def _proof(self, username: str) -> str:
        if self._secret is None:
            described = await self.call("DescribeUserPoolClient", ClientId=self.client_id)
            self._secret = str(described["UserPoolClient"].get("ClientSecret", "")).encode()
        digest = hmac.digest(self._secret, (username + self.client_id).encode(), hashlib.sha256)
        return base64.b64encode(digest).decode()


async def delete_user(pool: UserPool, user_id: UserId) -> None:
    """Delete a user if it exists. Raises: see `UserPool.admin`."""
    try:
        await pool.admin("AdminDeleteUser", str(user_id))
    except AwsError as refused:
        if refused.code != "UserNotFoundException":
            raise


def attribute_list(attributes: Mapping[str, str]) -> list[dict[str, str]]:
    """Attributes in Cognito's format."""
    return [{"Name": name, "Value": value} for name, value in attributes.items()]
