"""Bodies of the deletion of accounts."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from nomadcrew.core.erasure.model import Erasure

Password = Annotated[str, Meta(min_length=1, max_length=1024)]
Receipt = Annotated[str, Meta(min_length=1, max_length=4096)]


class DeletionState(StrEnum):
    SCHEDULED = "scheduled"
    ERASING = "erasing"
    ERASED = "erased"


class DeletionIn(Struct, rename="camel"):
    """The caller's password. With `immediate`, there is no grace in which a sign-in keeps the account."""

    password: Password
    immediate: bool = False
    device_token: str | None = None


class DeletionView(Struct, rename="camel", omit_defaults=True):
    """The deletion of an account: `scheduled` for a time, `erasing`, or `erased` with its receipt.

    The receipt of an erasure that takes longer than a request comes by mail only.
    """

    state: DeletionState
    deletes_at: datetime
    receipt: str | None = None


class ReceiptIn(Struct):
    receipt: Receipt


class ReceiptView(Struct, rename="camel"):
    """The contents of a receipt: the account, when it was erased, and the number of rows by kind."""

    user_id: UUID
    erased_at: datetime
    erased: Mapping[str, int]


def receipt_view(erasure: Erasure) -> ReceiptView:
    return ReceiptView(erasure.user_id, erasure.erased_at, erasure.erased)
