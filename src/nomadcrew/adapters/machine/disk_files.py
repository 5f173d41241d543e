"""People's files in a folder, and the signed links that lead to them.

A link ends in a token: what may be read, until when and as what, and an HMAC of that. It holds no secret, and it is
the only credential that whoever follows it needs.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from nomadcrew.adapters.machine.disk import sync_folder, write_whole
from nomadcrew.core.errors import NotFound, Unavailable
from nomadcrew.core.files.model import FileKind
from nomadcrew.core.files.ports import LINK_LIFETIME

# Links are relative, so that they lead to the address the request came to.
FILES = "/v1/files/"
# No dots, so that no key leads out of the folder or to a file that is still being written.
_KEY = re.compile(r"[a-z0-9-]+(/[a-z0-9-]+)*")


@dataclass(frozen=True, slots=True)
class LinkedFile:
    """What a link leads to."""

    content: bytes
    kind: FileKind
    name: str


class DiskFiles:
    """`Files` of one machine."""

    def __init__(self, folder: Path, secrets: Sequence[str], *, base: str) -> None:
        """The first secret signs, all of them verify; links begin with `base`.

        Raises:
            ValueError: there is no secret, or an empty one.
        """
        if not secrets or not all(secrets):
            raise ValueError("Links to files need at least one secret, and no empty one.")
        self._folder = folder
        self._keys = [secret.encode() for secret in secrets]
        self._base = base

    async def put(self, key: str, content: bytes, kind: FileKind) -> None:  # noqa: ARG002 — links carry the kind
        path = self._path(key)
        try:
            await asyncio.to_thread(_write, self._folder, path, content)
        except OSError as error:
            raise Unavailable(details=f"files: {error.strerror}") from error

    def link(self, key: str, kind: FileKind, name: str, *, now: datetime) -> str:
        self._path(key)
        until = int((now + LINK_LIFETIME).timestamp())
        said = json.dumps([key, until, kind, name], separators=(",", ":")).encode()
        return f"{self._base}{_text(said)}.{_text(_proof(self._keys[0], said))}"

    async def delete(self, key: str) -> None:
        path = self._path(key)
        try:
            await asyncio.to_thread(path.unlink, missing_ok=True)
        except OSError as error:
            raise Unavailable(details=f"files: {error.strerror}") from error

    async def follow(self, token: str, *, now: datetime) -> LinkedFile:
        """The file that the end of a link stands for.

        Raises:
            NotFound: forged, malformed or expired, or the file is gone; nobody learns which.
            Unavailable: the file cannot be read just now.
        """
        key, until, kind, name = self._read(token)
        if now.timestamp() >= until:
            raise NotFound("file")
        try:
            content = await asyncio.to_thread(self._path(key).read_bytes)
        except FileNotFoundError:
            raise NotFound("file") from None
        except OSError as error:
            raise Unavailable(details=f"files: {error.strerror}") from error
        return LinkedFile(content, kind, name)

    def _read(self, token: str) -> tuple[str, int, FileKind, str]:
        """What a token says, which is ours once its proof is."""
        first, _, second = token.partition(".")
        try:
            said, proof = _bytes(first), _bytes(second)
        except (ValueError, binascii.Error):
            raise NotFound("file") from None
        if not any(hmac.compare_digest(_proof(key, said), proof) for key in self._keys):
            raise NotFound("file")
        key, until, kind, name = json.loads(said)
        return key, until, FileKind(kind), name

    def _path(self, key: str) -> Path:
        if _KEY.fullmatch(key) is None:
            raise ValueError("Keys of files are lower-case words and ids between slashes.")
        return self._folder / key


def _write(root: Path, path: Path, content: bytes) -> None:
    """Put a file in place whole, so that it survives a power cut once this returns."""
    made = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_whole(path, content)
    for folder in {one.parent for one in made}:
        if folder.is_relative_to(root.parent):
            sync_folder(folder)


def _proof(key: bytes, said: bytes) -> bytes:
    return hmac.new(key, b"file\0" + said, hashlib.sha256).digest()


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
