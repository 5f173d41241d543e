"""Tells whether a session is open, by its item in `UserSessions`, which `sessions` describes."""

from nomadcrew.adapters.aws.sdk.client import AwsClient
from nomadcrew.core.ids import SessionId, UserId


class DynamoOpenSessions:
    """`OpenSessions` by a consistent read."""

    def __init__(self, dynamodb: AwsClient, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    async def is_open(self, user_id: UserId, session_id: SessionId) -> bool:
        found = await self._dynamodb.call(
            "GetItem",
            {
                "TableName": self._table,
                "Key": session_key(user_id, session_id),
                "ConsistentRead": True,
                "ProjectionExpression": "sessionId, revokedAt",
            },
        )
        return "Item" in found and "revokedAt" not in found["Item"]


def session_key(user_id: UserId, session_id: SessionId) -> dict[str, dict[str, str]]:
    return {"userId": {"S": str(user_id)}, "sessionId": {"S": str(session_id)}}
