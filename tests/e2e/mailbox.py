"""Mail that a server sent, wherever it goes: into files on one machine, into the emulator's record elsewhere."""

import email.policy
import re
from collections.abc import Sequence
from dataclasses import dataclass
from email.parser import BytesParser
from pathlib import Path
from typing import Protocol

import httpx

from tests.e2e.client import eventually

# How a link begins: mails name the site's public address, which a server behind something else does not answer at.
_LINK = r"https?://[^\s\"<>]*?({path}/[\w.~-]+)"


@dataclass(frozen=True)
class Mail:
    """One mail: its two bodies say the same."""

    to: str
    text: str
    html: str

    def link(self, path: str) -> str:
        """The path of the link that begins with `path`; text and HTML must have the same."""
        wanted = re.compile(_LINK.format(path=re.escape(path)))
        [text] = set(wanted.findall(self.text))
        [html] = set(wanted.findall(self.html))
        assert text == html
        return str(text)


class Mailbox(Protocol):
    async def mails(self, address: str) -> Sequence[Mail]:
        """Everything sent to an address so far."""
        ...


async def link_to(address: str, path: str, mailbox: Mailbox) -> str:
    """The path of the link that begins with `path`, from the one mail with such a link."""

    async def found() -> list[Mail]:
        return [mail for mail in await mailbox.mails(address) if path in mail.text]

    [mail] = await eventually(found)
    return mail.link(path)


class FileMailbox:
    """The `mail/` folder of a data folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def mails(self, address: str) -> Sequence[Mail]:
        parser = BytesParser(policy=email.policy.default)
        found = [parser.parsebytes(path.read_bytes()) for path in self._folder.glob("*.eml")]
        return [
            Mail(address, *(str(part.get_content()) for part in mail.walk() if not part.is_multipart()))
            for mail in found
            if address in str(mail["To"])
        ]


class EmulatedMailbox:
    """What an emulated SES was given, at the address of its record."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def mails(self, address: str) -> Sequence[Mail]:
        async with httpx.AsyncClient(trust_env=False) as http:
            accounts = (await http.get(self._url)).json()["messages"]
        return [
            Mail(address, mail["BodyText"], mail["BodyHtml"])
            for mails in accounts.values()
            for mail in mails
            # Ours have two bodies. The emulated user pool mails a code of its own, although it is told not to.
            if mail["BodyHtml"] and any(address in to for to in mail["To"])
        ]
