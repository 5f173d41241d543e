"""Mail that a server sent: in files on one machine, in the emulator's record on AWS."""

import email.policy
import re
from collections.abc import Sequence
from dataclasses import dataclass
from email.parser import BytesParser
from pathlib import Path
from typing import Protocol

import httpx

from tests.e2e.client import eventually

# Mails name the site's public address; a server behind a proxy answers at another one.
_LINK = r"https?://[^\s\"<>]*?({path}/[\w.~-]+)"


@dataclass(frozen=True)
class Mail:
    """One mail. Text and HTML have the same content."""

    to: str
    text: str
    html: str

    def link(self, path: str) -> str:
        """The path of the link that starts with `path`; text and HTML must have the same."""
        wanted = re.compile(_LINK.format(path=re.escape(path)))
        [text] = set(wanted.findall(self.text))
        [html] = set(wanted.findall(self.html))
        assert text == html
        return str(text)


class Mailbox(Protocol):
    async def mails(self, address: str) -> Sequence[Mail]:
        """All mails sent to an address so far."""
        ...


async def link_to(address: str, path: str, mailbox: Mailbox) -> str:
    """The path of the link that starts with `path`, from the one mail that has such a link."""

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
    """The mails that an emulated SES received, read from its record's address."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def mails(self, address: str) -> Sequence[Mail]:
        async with httpx.AsyncClient(trust_env=False) as http:
            accounts = (await http.get(self._url)).json()["messages"]
        return [
            Mail(address, mail["BodyText"], mail["BodyHtml"])
            for mails in accounts.values()
            for mail in mails
            # Mails of the server have two bodies. The emulated user pool also mails a code, although that is off.
            if mail["BodyHtml"] and any(address in to for to in mail["To"])
        ]
