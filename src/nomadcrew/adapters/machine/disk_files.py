"""Users' files in a folder, and signed links to them.

A link ends with a token: key, expiry time, kind and name of a file, and an HMAC of these. It contains no secret,
and it is the only credential that a client needs. The link of an upload has the size in place of the name.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import os
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from msgspec import Struct

from nomadcrew.adapters.machine.disk import copy_whole, sync_folder
from nomadcrew.core.errors import NotFound, Unavailable
from nomadcrew.core.files.model import FileKind
from nomadcrew.core.files.ports import LINK_LIFETIME, Beginning, DirectUpload

# Relative, so that a link leads to the host that the request was sent to.
FILES = "/v1/files/"
# The link of a download admits no upload.
_READ, _WRITE = b"file\0", b"upload\0"
# No dots, so that no key leads out of the folder or to a temporary file.
COPY_BYTES = 256 * 1024  # at a time
_KEY = re.compile(r"[a-z0-9-]+(/[a-z0-9-]+)*")


class LinkedFile(Struct, frozen=True):
    """The file that a link refers to, open for reading; the caller closes it. It may be large."""

    file: BinaryIO
    size: int
    kind: FileKind
    name: str


class ExpectedFile(Struct, frozen=True):
    """The file that the link of an upload admits."""

    key: str
    kind: FileKind
    size_bytes: int


class DiskFiles:
    """`Files` on one machine's disk."""

    def __init__(self, folder: Path, secrets: Sequence[str], *, base: str) -> None:
        """The first secret signs, all of them verify; `base` is the prefix of links.

        Raises:
            ValueError: there is no secret, or one is empty.
        """
        if not secrets or not all(secrets):
            raise ValueError("Links to files need at least one secret; no secret may be empty.")
        self._folder = folder
        self._keys = [secret.encode() for secret in secrets]
        self._base = base

    async def put(self, key: str, content: bytes, kind: FileKind) -> None:
        await self.store(key, BytesIO(content), kind)

    async def store(self, key: str, file: BinaryIO, kind: FileKind) -> None:  # noqa: ARG002 — links contain the kind
        path = self._path(key)
        try:
            await asyncio.to_thread(_write, self._folder, path, file)
        except OSError as error:
            raise Unavailable(details=f"files: {error.strerror}") from error

    def link(
        self, key: str, kind: FileKind, name: str, *, now: datetime, lifetime: timedelta = LINK_LIFETIME
    ) -> str:
        return self._signed(_READ, key, now + lifetime, kind, name)

    def direct_upload(
        self, key: str, kind: FileKind, size_bytes: int, *, now: datetime, lifetime: timedelta
    ) -> DirectUpload:
        return DirectUpload("PUT", self._signed(_WRITE, key, now + lifetime, kind, size_bytes), {})

    async def beginning(self, key: str, length: int) -> Beginning | None:
        try:
            return await asyncio.to_thread(_beginning, self._path(key), length)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unavailable(details=f"files: {error.strerror}") from error

    async def fetch(self, key: str, into: BinaryIO, *, max_bytes: int) -> int | None:
        try:
            return await asyncio.to_thread(_copy, self._path(key), into, max_bytes)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unavailable(details=f"files: {error.strerror}") from error

    async def delete(self, key: str) -> None:
        path = self._path(key)
        try:
            await asyncio.to_thread(path.unlink, missing_ok=True)
        except OSError as error:
            raise Unavailable(details=f"files: {error.strerror}") from error

    async def follow(self, token: str, *, now: datetime) -> LinkedFile:
        """The file of a link's token.

        Raises:
            NotFound: the token is forged, malformed or expired, or the file is deleted; the reply is the same.
            Unavailable: the file cannot be read.
        """
        key, kind, name = self._read(_READ, token, now)
        try:
            file, size = await asyncio.to_thread(_open, self._path(key))
        except FileNotFoundError:
            raise NotFound("file") from None
        except OSError as error:
            raise Unavailable(details=f"files: {error.strerror}") from error
        return LinkedFile(file, size, kind, name)

    def expected(self, token: str, *, now: datetime) -> ExpectedFile:
        """The file that the token of an upload admits.

        Raises:
            NotFound: the token is forged, malformed or expired.
        """
        key, kind, size_bytes = self._read(_WRITE, token, now)
        return ExpectedFile(key, kind, size_bytes)

    def _signed(self, purpose: bytes, key: str, until: datetime, kind: FileKind, detail: str | int) -> str:
        """A link. `detail` is the name of a download, or the size of an upload."""
        self._path(key)
        signed = json.dumps([key, int(until.timestamp()), kind, detail], separators=(",", ":")).encode()
        return f"{self._base}{_text(signed)}.{_text(_proof(self._keys[0], purpose, signed))}"

    def _read(self, purpose: bytes, token: str, now: datetime) -> tuple[str, FileKind, Any]:
        """The contents of a token, after a check of its HMAC and its expiry time."""
        first, _, second = token.partition(".")
        try:
            signed, proof = _bytes(first), _bytes(second)
        except (ValueError, binascii.Error):
            raise NotFound("file") from None
        if not any(hmac.compare_digest(_proof(key, purpose, signed), proof) for key in self._keys):
            raise NotFound("file")
        key, until_s, kind, detail = json.loads(signed)
        if now.timestamp() >= until_s:
            raise NotFound("file")
        return key, FileKind(kind), detail

    def _path(self, key: str) -> Path:
        if _KEY.fullmatch(key) is None:
            raise ValueError("Keys of files are lower-case words and ids, separated by slashes.")
        return self._folder / key


def _open(path: Path) -> tuple[BinaryIO, int]:
    file = path.open("rb")
    return file, os.fstat(file.fileno()).st_size


def _beginning(path: Path, length: int) -> Beginning:
    with path.open("rb") as file:
        return Beginning(file.read(length), os.fstat(file.fileno()).st_size)


def _copy(path: Path, into: BinaryIO, max_bytes: int) -> int:
    with path.open("rb") as file:
        into.seek(0)
        into.truncate()
        left = max_bytes
        while left and (part := file.read(min(COPY_BYTES, left))):
            into.write(part)
            left -= len(part)
        into.flush()
        return os.fstat(file.fileno()).st_size


def _write(root: Path, path: Path, source: BinaryIO) -> None:
    """Write a file atomically; it survives a power cut once this returns."""
    source.seek(0)
    created = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    copy_whole(path, source)
    for folder in {child.parent for child in created}:
        if folder.is_relative_to(root.parent):
            sync_folder(folder)


def _proof(key: bytes, purpose: bytes, signed: bytes) -> bytes:
    return hmac.new(key, purpose + signed, hashlib.sha256).digest()


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
