"""Users' files in a folder, and signed links to them.

A link ends with a token: key, expiry time, kind and name of a file, and an HMAC of these. It contains no secret,
and it is the only credential that a client needs.
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
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct

from nomadcrew.adapters.machine.disk import sync_folder, write_whole
from nomadcrew.core.errors import NotFound, Unavailable
from nomadcrew.core.files.model import FileKind
from nomadcrew.core.files.ports import LINK_LIFETIME

# Relative, so that a link leads to the host that the request was sent to.
FILES = "/v1/files/"
# No dots, so that no key leads out of the folder or to a temporary file.
_KEY = re.compile(r"[a-z0-9-]+(/[a-z0-9-]+)*")


class LinkedFile(Struct, frozen=True):
    """The file that a link refers to, open for reading; the caller closes it. It may be large."""

    file: BinaryIO
    size: int
    kind: FileKind
    name: str


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

    async def put(self, key: str, content: bytes, kind: FileKind) -> None:  # noqa: ARG002 — links contain the kind
        path = self._path(key)
        try:
            await asyncio.to_thread(_write, self._folder, path, content)
        except OSError as error:
            raise Unavailable(details=f"files: {error.strerror}") from error

    def link(self, key: str, kind: FileKind, name: str, *, now: datetime) -> str:
        self._path(key)
        until = int((now + LINK_LIFETIME).timestamp())
        signed = json.dumps([key, until, kind, name], separators=(",", ":")).encode()
        return f"{self._base}{_text(signed)}.{_text(_proof(self._keys[0], signed))}"

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
        key, until, kind, name = self._read(token)
        if now.timestamp() >= until:
            raise NotFound("file")
        try:
            file, size = await asyncio.to_thread(_open, self._path(key))
        except FileNotFoundError:
            raise NotFound("file") from None
        except OSError as error:
            raise Unavailable(details=f"files: {error.strerror}") from error
        return LinkedFile(file, size, kind, name)

    def _read(self, token: str) -> tuple[str, int, FileKind, str]:
        """The contents of a token, after a check of its HMAC."""
        first, _, second = token.partition(".")
        try:
            signed, proof = _bytes(first), _bytes(second)
        except (ValueError, binascii.Error):
            raise NotFound("file") from None
        if not any(hmac.compare_digest(_proof(key, signed), proof) for key in self._keys):
            raise NotFound("file")
        key, until, kind, name = json.loads(signed)
        return key, until, FileKind(kind), name

    def _path(self, key: str) -> Path:
        if _KEY.fullmatch(key) is None:
            raise ValueError("Keys of files are lower-case words and ids, separated by slashes.")
        return self._folder / key


def _open(path: Path) -> tuple[BinaryIO, int]:
    file = path.open("rb")
    return file, os.fstat(file.fileno()).st_size


def _write(root: Path, path: Path, content: bytes) -> None:
    """Write a file atomically; it survives a power cut once this returns."""
    created = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_whole(path, content)
    for folder in {child.parent for child in created}:
        if folder.is_relative_to(root.parent):
            sync_folder(folder)


def _proof(key: bytes, signed: bytes) -> bytes:
    return hmac.new(key, b"file\0" + signed, hashlib.sha256).digest()


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
