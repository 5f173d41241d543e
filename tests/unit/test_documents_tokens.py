"""Encrypted tokens of files."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from nomadcrew.adapters.file_tokens import EncryptedFileTokens
from nomadcrew.core.documents.model import BadToken, FileGrant, TokenExpired
from nomadcrew.core.ids import AuditId, DocumentId, UserId, uuid7

NOON = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
OLD, NEW = b"old" * 16, b"new" * 16


@dataclass(frozen=True)
class Wallet:
    tokens: EncryptedFileTokens
    grant: FileGrant


@pytest.fixture
def wallet() -> Wallet:
    grant = FileGrant(DocumentId(uuid7()), UserId(uuid7()), AuditId(uuid7()), NOON + timedelta(minutes=15))
    return Wallet(EncryptedFileTokens(lambda: [NEW, OLD]), grant)


def test_a_token_holds_its_grant_in_one_path_segment(wallet: Wallet) -> None:
    token = wallet.tokens.issue(wallet.grant)
    assert re.fullmatch(r"[A-Za-z0-9_-]{96}", token)
    assert wallet.tokens.read(token, now=NOON) == wallet.grant
    assert wallet.tokens.issue(wallet.grant) == token


def test_a_token_expires(wallet: Wallet) -> None:
    token = wallet.tokens.issue(wallet.grant)
    assert wallet.tokens.read(token, now=wallet.grant.expires_at - timedelta(seconds=1)) == wallet.grant
    with pytest.raises(TokenExpired):
        wallet.tokens.read(token, now=wallet.grant.expires_at)


def test_a_forged_token_is_refused(wallet: Wallet) -> None:
    token = wallet.tokens.issue(wallet.grant)
    changed = ("A" if token[0] != "A" else "B") + token[1:]
    for forged in ("", "é", "a.b", token[:-4], token + "AAAA", changed, token[:-1] + "!"):
        with pytest.raises(BadToken):
            wallet.tokens.read(forged, now=NOON)


def test_tokens_survive_a_new_secret(wallet: Wallet) -> None:
    token = EncryptedFileTokens(lambda: [OLD]).issue(wallet.grant)
    assert wallet.tokens.read(token, now=NOON) == wallet.grant
    with pytest.raises(BadToken):
        EncryptedFileTokens(lambda: [NEW]).read(token, now=NOON)
