"""Sessions in DynamoDB: items, conflicts and key rotation; `test_auth_sessions.py` is the contract."""

import asyncio
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest

from nomadcrew.adapters.aws.dynamodb.sessions import DynamoSessions, OnEnd
from nomadcrew.adapters.aws.sdk.client import AwsClient, AwsError
from nomadcrew.adapters.aws.sdk.secrets import Secrets
from nomadcrew.adapters.aws.sdk.services import DYNAMODB, SECRETS
from nomadcrew.core.auth.errors import InvalidRefreshToken
from nomadcrew.core.auth.model import Account, Session
from nomadcrew.core.auth.sessions import hash_of
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.ids import SessionId, UserId, uuid7
from tests.contract.auth_ports import NOON, new_profile
from tests.contract.aws_auth import KEY, AwsAuth

LIFETIME = timedelta(days=30)


class BusyClient(AwsClient):
    """A client with simulated transaction conflicts and lost replies, which the emulator never has."""

    def __init__(self, aws_auth: AwsAuth) -> None:
        super().__init__(DYNAMODB, environment=aws_auth.aws.environment)
        self._real = aws_auth.aws.client(DYNAMODB)
        self.conflicts = 0
        self.lost_answers = 0

    async def call(self, operation: str, body: Mapping[str, Any], **options: Any) -> dict[str, Any]:
        if operation == "TransactWriteItems" and self.conflicts:
            self.conflicts -= 1
            reasons = {"CancellationReasons": [{"Code": "None"}, {"Code": "TransactionConflict"}]}
            raise AwsError("TransactionCanceledException", 400, "", reasons)
        answer = await self._real.call(operation, body, **options)
        if operation == "TransactWriteItems" and self.lost_answers:
            self.lost_answers -= 1
            # The real client retries, although the first attempt was carried out.
            return await self.call(operation, body, **options)
        return answer


class Table:
    """The sessions of one user and the items in the table."""

    def __init__(self, aws_auth: AwsAuth, client: AwsClient | None = None, *, on_end: OnEnd | None = None) -> None:
        self.aws_auth = aws_auth
        self.account = Account(new_profile("ana"))
        self.sessions = DynamoSessions(
            client or aws_auth.aws.client(DYNAMODB),
            aws_auth.sessions_table,
            aws_auth.secrets(),
            self.find,
            on_end=on_end,
        )

    async def find(self, user_id: UserId) -> Account | None:
        return self.account if user_id == self.account.user_id else None

    async def open(self, token: str) -> Session:
        session = Session(SessionId(uuid7()), self.account, NOON + LIFETIME)
        await self.sessions.open(session, hash_of(token), now=NOON)
        return session

    async def exchange(self, spent: str, fresh: str, seconds: int = 0) -> Session:
        now = NOON + timedelta(seconds=seconds)
        return await self.sessions.rotate(hash_of(spent), hash_of(fresh), now=now, expires_at=now + LIFETIME)

    def items(self) -> list[dict[str, Any]]:
        dynamodb = self.aws_auth.aws.boto("dynamodb")
        found = dynamodb.scan(TableName=self.aws_auth.sessions_table, ConsistentRead=True)["Items"]
        user = {"S": str(self.account.user_id)}
        return [item for item in found if user in (item["userId"], item.get("ownerId"))]


@pytest.fixture
def table(aws_auth: AwsAuth) -> Table:
    return Table(aws_auth)


async def test_the_table_holds_neither_tokens_nor_their_hashes(table: Table) -> None:
    token = f"secret-{uuid7()}"
    await table.open(token)
    await table.exchange(token, f"fresh {token}")
    written = json.dumps(table.items())
    for secret in (token, f"fresh {token}"):
        assert secret not in written
        assert hash_of(secret).hex() not in written


async def test_a_session_is_open_until_the_moment_it_ends(table: Table) -> None:
    sessions, ana = table.aws_auth.open_sessions(), table.account.user_id
    token, other = f"first {uuid7()}", f"other {uuid7()}"
    phone, tablet = await table.open(token), await table.open(other)
    assert [await sessions.is_open(ana, one.id) for one in (phone, tablet)] == [True, True]
    await table.exchange(token, f"fresh {token}")
    assert await sessions.is_open(ana, phone.id)
    await table.sessions.close(hash_of(f"fresh {token}"), now=NOON)
    assert [await sessions.is_open(ana, one.id) for one in (phone, tablet)] == [False, True]
    await table.sessions.end_others(ana, None, now=NOON)
    assert not await sessions.is_open(ana, tablet.id)
    assert not await sessions.is_open(UserId(uuid7()), tablet.id)
    assert not await sessions.is_open(ana, SessionId(uuid7()))


async def test_items_expire_with_their_session(table: Table) -> None:
    token = f"first {uuid7()}"
    await table.open(token)
    assert {int(item["expiresAt"]["N"]) for item in table.items()} == {int((NOON + LIFETIME).timestamp()) + 1}
    await table.exchange(token, f"fresh {token}", 3600)
    ends = sorted(int(item["expiresAt"]["N"]) for item in table.items())
    assert [end - int((NOON + LIFETIME).timestamp()) - 1 for end in ends] == [0, 3600, 3600]


async def test_an_expired_item_is_rejected_before_its_deletion(table: Table) -> None:
    token = f"first {uuid7()}"
    await table.open(token)
    with pytest.raises(InvalidRefreshToken):
        await table.exchange(token, "x", int(LIFETIME.total_seconds()))
    assert len(table.items()) == 2


async def test_the_index_finds_a_session_by_its_newest_token(table: Table) -> None:
    token = f"first {uuid7()}"
    session = await table.open(token)
    await table.exchange(token, f"fresh {token}")
    [stored] = [item for item in table.items() if "sessionToken" in item]
    found = table.aws_auth.aws.boto("dynamodb").query(
        TableName=table.aws_auth.sessions_table,
        IndexName="SessionByToken",
        KeyConditionExpression="sessionToken = :token",
        ExpressionAttributeValues={":token": stored["sessionToken"]},
    )["Items"]
    keys = {"userId": {"S": str(table.account.user_id)}, "sessionId": {"S": str(session.id)}}
    assert found == [{**keys, "sessionToken": stored["sessionToken"]}]


async def test_ending_all_sessions_ends_those_of_one_user_only(table: Table) -> None:
    opened = [await table.open(f"{n} {table.account.user_id}") for n in range(5)]
    other = Table(table.aws_auth)
    other_token = f"kept {uuid7()}"
    await other.open(other_token)
    assert set(await table.sessions.end_others(table.account.user_id, None, now=NOON)) == {
        session.id for session in opened
    }
    assert await table.sessions.end_others(table.account.user_id, None, now=NOON) == []
    for n in range(5):
        with pytest.raises(InvalidRefreshToken):
            await table.exchange(f"{n} {table.account.user_id}", "x")
    await other.exchange(other_token, f"fresh {other_token}")


async def test_conflicting_exchanges_run_one_after_another(aws_auth: AwsAuth) -> None:
    client = BusyClient(aws_auth)
    table = Table(aws_auth, client)
    token = f"first {uuid7()}"
    session = await table.open(token)
    client.conflicts = 5
    made = await asyncio.gather(*(table.exchange(token, f"second {token}") for _ in range(4)))
    assert {session.id for session in made} == {session.id}
    client.conflicts = 10_000
    with pytest.raises(Unavailable):
        await table.exchange(f"second {token}", f"third {token}")
    client.conflicts = 0
    await table.exchange(f"second {token}", f"third {token}", 60)


async def test_an_exchange_with_a_lost_reply_is_carried_out_once(aws_auth: AwsAuth) -> None:
    client = BusyClient(aws_auth)
    table = Table(aws_auth, client)
    token = f"first {uuid7()}"
    await table.open(token)
    client.lost_answers = 1
    await table.exchange(token, f"second {token}")
    await table.exchange(f"second {token}", f"third {token}", 60)
    assert len(table.items()) == 4


async def test_tokens_of_an_older_key_are_exchanged_after_a_rotation(aws_auth: AwsAuth) -> None:
    table = Table(aws_auth)
    token = f"first {uuid7()}"
    session = await table.open(token)
    made = aws_auth.aws.boto("secretsmanager").create_secret(
        Name=f"rotated-{uuid7()}", SecretString=json.dumps({"key": "n" * 64, "older": [KEY]})
    )
    table.sessions = DynamoSessions(
        aws_auth.aws.client(DYNAMODB),
        aws_auth.sessions_table,
        Secrets(aws_auth.aws.client(SECRETS), made["ARN"]),
        table.find,
    )
    assert (await table.exchange(token, f"second {token}")).id == session.id
    assert (await table.exchange(f"second {token}", f"third {token}")).id == session.id
    with pytest.raises(InvalidRefreshToken) as refused:
        await table.exchange(token, "x", 60)
    assert refused.value.ended == session.id


class Listener:
    """Receives the ends of sessions; unreachable while `away`."""

    def __init__(self) -> None:
        self.ended: list[tuple[UserId, SessionId]] = []
        self.away = False

    async def __call__(self, user_id: UserId, session_id: SessionId, _now: datetime) -> None:
        if self.away:
            raise Unavailable
        self.ended.append((user_id, session_id))


async def test_the_listener_is_notified_of_every_session_that_ends(aws_auth: AwsAuth) -> None:
    listener = Listener()
    table = Table(aws_auth, on_end=listener)
    user_id, ids = table.account.user_id, [SessionId(uuid7()) for _ in range(3)]
    hashes = [hash_of(str(id_)) for id_ in ids]
    for id_, token in zip(ids, hashes, strict=True):
        await table.sessions.open(Session(id_, table.account, NOON + LIFETIME), token, now=NOON)
    assert await table.sessions.close(hashes[0], now=NOON) == ids[0]
    await table.sessions.rotate(hashes[1], hash_of("fresh"), now=NOON, expires_at=NOON + LIFETIME)
    with pytest.raises(InvalidRefreshToken):
        await table.sessions.rotate(
            hashes[1], hash_of("stolen"), now=NOON + timedelta(minutes=1), expires_at=NOON + LIFETIME
        )
    assert await table.sessions.end_others(user_id, None, now=NOON) == [ids[2]]
    assert listener.ended == [(user_id, id_) for id_ in ids]


async def test_an_unreachable_listener_is_notified_by_the_next_sign_out(aws_auth: AwsAuth) -> None:
    listener = Listener()
    table = Table(aws_auth, on_end=listener)
    session, token = Session(SessionId(uuid7()), table.account, NOON + LIFETIME), hash_of(str(uuid7()))
    await table.sessions.open(session, token, now=NOON)
    listener.away = True
    with pytest.raises(Unavailable):
        await table.sessions.close(token, now=NOON)
    listener.away = False
    assert await table.sessions.close(token, now=NOON) == session.id
    assert listener.ended == [(table.account.user_id, session.id)]


async def test_a_stolen_token_is_refused_while_the_listener_is_unreachable(aws_auth: AwsAuth) -> None:
    listener = Listener()
    table = Table(aws_auth, on_end=listener)
    session, token = Session(SessionId(uuid7()), table.account, NOON + LIFETIME), hash_of(str(uuid7()))
    await table.sessions.open(session, token, now=NOON)
    await table.sessions.rotate(token, hash_of(f"2{token!r}"), now=NOON, expires_at=NOON + LIFETIME)
    listener.away = True
    later = NOON + timedelta(minutes=1)
    with pytest.raises(InvalidRefreshToken) as refused:
        await table.sessions.rotate(token, hash_of(f"3{token!r}"), now=later, expires_at=NOON + LIFETIME)
    assert refused.value.ended == session.id
