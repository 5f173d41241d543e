"""What README and CONTRIBUTING show is what happens: their shell is run, their code is the code."""

import asyncio
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nomadcrew.api.socket_frames import actions
from nomadcrew.cli import nomadcrew
from tests.e2e.client import Api
from tests.e2e.server import Server

pytestmark = pytest.mark.one_machine("README is about one machine")

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
# What the tour prints, but for what differs from run to run.
TOUR = """
live: connected
PENDING
live: notification.created Ana invited you to Porto by train
Ana invites you to Porto by train
1 May 2027 – 9 May 2027. You would join as member.
/invite/accept/
live: MEMBER_ADDED MEMBER
MEMBER
live: TODO_CREATED Book the sleeper
2
Ana: The sleeper leaves at 21:40
Ben: On my way, keep me a seat
image/png
"latitude":41.15
"""
CLEAN_UP = "trap 'kill $(jobs -p) 2>&- || true' EXIT\n"


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language, without the indentation of a list they may stand in."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```$", text, re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


async def shell(script: str, server: Server, folder: Path) -> str:
    """Run README's lines in a checkout whose server is `server`; what they print."""
    (folder / "docs").symlink_to(ROOT / "docs")
    (folder / ".nomadcrew").symlink_to(server.home)
    (folder / ".venv" / "bin").mkdir(parents=True)
    for program in ("python", "nomadcrew"):
        # A link to an interpreter would not know the environment it belongs to.
        wrapper = folder / ".venv" / "bin" / program
        wrapper.write_text(f'#!/bin/sh\nexec "{Path(sys.executable).with_name(program)}" "$@"\n')
        wrapper.chmod(0o755)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NOMADCREW_")}
    process = await asyncio.create_subprocess_exec(
        "bash", "-euc", CLEAN_UP + script.replace("http://127.0.0.1:8080", server.url),
        cwd=folder, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(60):
        said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    return said.decode()


async def test_the_tour_prints_what_readme_shows(tmp_path: Path) -> None:
    async with Server() as server:
        said = await shell("".join(blocks(README, "sh tour")), server, tmp_path)
    [shown] = [block for block in blocks(README, "text") if "live:" in block]
    for text in (said, shown):
        assert [line for line in TOUR.split("\n") if line not in text] == [], text
    assert len(said.splitlines()) == len(shown.splitlines()), said


async def test_a_backup_is_made_and_restored_as_readme_says(server: Server, api: Api, tmp_path: Path) -> None:
    [block] = blocks(README, "sh backup")
    script, start = block.rstrip().rsplit("\n", 1)
    assert start == "NOMADCREW_HOME=restored make up"
    said = await shell(script, server, tmp_path)
    assert said.count("Done: ") == 2
    assert (tmp_path / "restored" / "folder.json").exists()
    assert (await api.send("GET", "/health/readiness")).status_code == 200


def test_readme_shows_the_listener_as_it_is() -> None:
    assert blocks(README, "python listen") == [(ROOT / "docs" / "listen.py").read_text()]


def test_readme_names_every_command() -> None:
    [table] = re.findall(r"^## Commands\n(.*?)^## ", README, re.DOTALL | re.MULTILINE)
    assert [name for name in nomadcrew.commands if f"`{name}" not in table] == []


def test_readme_names_every_frame_that_a_socket_takes() -> None:
    [table] = re.findall(r"^## On a socket\n(.*?)^## ", README, re.DOTALL | re.MULTILINE)
    assert [name for name in actions.rows if not re.search(rf'[`"]{name}[`"]', table)] == []


@pytest.mark.parametrize("text", [README, CONTRIBUTING], ids=["README", "CONTRIBUTING"])
def test_what_is_linked_and_named_is_there(text: str) -> None:
    linked = re.findall(r"\]\(([^)#]+)\)", text)
    named = re.findall(r"`((?:src|tests|docs|migrations|deploy|bench|requirements)/[\w./-]*)`", text)
    missing = [path for path in (*linked, *named) if not (ROOT / path).exists()]
    assert [path for path in missing if "what_it_does" not in path] == []


def snippets() -> Iterator[tuple[str, str]]:
    """The file each snippet names in its first line, and the rest of the snippet."""
    for language in ("python", "sql"):
        for block in blocks(CONTRIBUTING, language):
            head, _, rest = block.partition("\n")
            yield re.sub(r"^(#|--) ", "", head), rest


@pytest.mark.parametrize(("path", "code"), list(snippets()))
def test_a_snippet_is_the_code_as_it_is(path: str, code: str) -> None:
    assert code in (ROOT / path).read_text()
