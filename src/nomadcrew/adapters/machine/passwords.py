"""Password hashes with argon2id, computed in threads so that other requests do not wait."""

from __future__ import annotations

import asyncio
import base64
import secrets
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from typing import TYPE_CHECKING, TypeVar

from nomadcrew.core.auth.passwords import canonical
from nomadcrew.core.errors import Unavailable

if TYPE_CHECKING:
    from argon2 import PasswordHasher

# OWASP's first recommendation for argon2id; about 40 ms and 46 MiB per hash here.
TIME_COST = 1
MEMORY_KIB = 47_104
PARALLELISM = 1
MAX_WAITING = 64

T = TypeVar("T")


class Argon2Passwords:
    """Hashes and checks passwords, at most `concurrency` at a time."""

    def __init__(
        self,
        *,
        time_cost: int = TIME_COST,
        memory_kib: int = MEMORY_KIB,
        parallelism: int = PARALLELISM,
        concurrency: int = 2,
    ) -> None:
        self._cost = (time_cost, memory_kib, parallelism)
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="argon2")
        self._waiting = 0
        # Compared with for unknown logins, so that they take as long: a random hash of the same cost.
        cost = f"m={memory_kib},t={time_cost},p={parallelism}"
        self.nobodys_hash = f"$argon2id$v=19${cost}${_random(16)}${_random(32)}"

    async def hash(self, password: str) -> str:
        """Raises Unavailable: too many hashes are waiting."""
        return await self._in_thread(partial(self._hash, canonical(password)))

    async def matches(self, password_hash: str | None, password: str) -> bool:
        """Raises Unavailable: too many hashes are waiting."""
        return await self._in_thread(partial(self._verify, password_hash, canonical(password)))

    def needs_rehash(self, password_hash: str) -> bool:
        return self._hasher.check_needs_rehash(password_hash)

    def close(self) -> None:
        """Finish the running hashes and cancel the waiting ones."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    # Most requests hash nothing, so the first that does loads the library.

    @cached_property
    def _hasher(self) -> PasswordHasher:
        from argon2 import PasswordHasher, Type

        return PasswordHasher(*self._cost, type=Type.ID)

    def _hash(self, password: str) -> str:
        return self._hasher.hash(password)

    def _verify(self, password_hash: str | None, password: str) -> bool:
        from argon2.exceptions import InvalidHashError, VerificationError

        try:
            return self._hasher.verify(password_hash or self.nobodys_hash, password) and password_hash is not None
        except (VerificationError, InvalidHashError):
            return False

    async def _in_thread(self, work: partial[T]) -> T:
        if self._waiting >= MAX_WAITING:
            raise Unavailable("Too many sign-ins at the moment. Try again shortly.", code="busy")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1


def _random(size_bytes: int) -> str:
    return base64.b64encode(secrets.token_bytes(size_bytes)).rstrip(b"=").decode()
