"""One user pool and its only client, as `auth` uses them."""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from nomadcrew.adapters.aws.sdk.client import AwsClient, AwsError
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.ids import UserId


class UserPool:
    """Calls on a user pool. The client's secret is asked for once, so it stands in no template or environment."""

    def __init__(self, client: AwsClient, pool_id: str, client_id: str) -> None:
        self.id = pool_id
        self.client_id = client_id
        self._client = client
        self._secret: bytes | None = None

    async def admin(self, operation: str, username: str, **body: Any) -> dict[str, Any]:
        """An `Admin…` operation on one user.

        Raises:
            AwsError: Cognito refused.
            Unavailable: it cannot be asked just now.
        """
        return await self._client.call(operation, {"UserPoolId": self.id, "Username": username, **body})

    async def call(self, operation: str, **body: Any) -> dict[str, Any]:
        """An operation on the pool. Raises as `admin`."""
        return await self._client.call(operation, {"UserPoolId": self.id, **body})

    async def sign_up(self, username: str, password: str, attributes: Mapping[str, str]) -> None:
        """Make a user who is not confirmed. Raises as `admin`."""
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
        """Start to sign somebody in. Raises as `admin`."""
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
        """Answer a challenge. Raises as `admin`."""
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
        """A call that proves to know the client's secret; after its rotation with the new one."""
        for last in (False, True):
            try:
                # Anybody may sign up, as far as AWS goes; the pool's trigger refuses whoever is not us.
                signed = operation != "SignUp"
                proven = body(await self._proof(username))
                return await self._client.call(operation, proven, repeatable=False, signed=signed)
            except AwsError as refused:
                # What a wrong password gets too, but for the text: nobody's password is wrong for our mistake.
                if refused.code != "NotAuthorizedException" or "secret" not in refused.message.lower():
                    raise
                self._secret = None
                if last:
                    raise Unavailable(details="cognito-idp: the client's secret is not accepted") from refused
        raise AssertionError("unreachable")

    async def _proof(self, username: str) -> str:
        if self._secret is None:
            described = await self.call("DescribeUserPoolClient", ClientId=self.client_id)
            self._secret = str(described["UserPoolClient"].get("ClientSecret", "")).encode()
        digest = hmac.digest(self._secret, (username + self.client_id).encode(), hashlib.sha256)
        return base64.b64encode(digest).decode()


async def delete_user(pool: UserPool, user_id: UserId) -> None:
    """Delete somebody, if they are there. Raises as `UserPool.admin`."""
    try:
        await pool.admin("AdminDeleteUser", str(user_id))
    except AwsError as refused:
        if refused.code != "UserNotFoundException":
            raise


def attribute_list(attributes: Mapping[str, str]) -> list[dict[str, str]]:
    """Attributes as Cognito wants them."""
    return [{"Name": name, "Value": value} for name, value in attributes.items()]
