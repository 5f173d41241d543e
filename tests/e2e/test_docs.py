"""README and the pages: their shell commands run, their snippets match the code, their links and names exist."""

import asyncio
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nomadcrew.api.socket_frames import frames
from nomadcrew.cli import nomadcrew
from tests.e2e.client import Api
from tests.e2e.server import Server

pytestmark = pytest.mark.one_machine("the pages are about one machine")

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README, CONTRIBUTING, OPERATING = ROOT / "README.md", ROOT / "CONTRIBUTING.md", DOCS / "operating.md"
# The tour begins in README and continues on its own page, in one shell.
TOUR = (README, DOCS / "tour.md")
CLIENTS = ROOT.glob("clients/*/README.md")
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *CLIENTS, *(ROOT / ".github").rglob("*.md")])
# The part of the tour's output that is the same in every run.
OUTPUT = """
live: connected
PENDING
live: notification.created Ana invited you to Porto by train
Ana invites you to Porto by train
1 May 2027 – 9 May 2027. You would join as member.
/invite/accept/
live: MEMBER_ADDED member
MEMBER
live: TODO_CREATED Book the sleeper
2
Ana: The sleeper leaves at 21:40
Ben: On my way, keep me a seat
image/png
"latitude":41.15
"missingFiles":0
"""
# `sh tour` and `sh backup` are run; `python listen`, `python`, `typescript` and `sql` are compared with files; the
# commands of `sh` are looked up. The others are figures, output, and configuration of other programs.
KINDS = {
    "sh tour", "sh backup", "sh", "python listen", "python", "typescript", "sql",
    "text tour", "text", "mermaid", "caddy", "nginx",
}  # fmt: skip
SOURCE_FOLDERS = ("core", "wire", "web", "api", "adapters", "hosts", "cli")
CLEAN_UP = "trap 'kill $(jobs -p) 2>&- || true' EXIT\n"


def all_blocks(page: Path) -> list[tuple[str, str]]:
    """The fenced blocks of a page with their info strings, without the indentation of a surrounding list."""
    blocks = re.findall(r"^( *)```([^\n]*)\n(.*?)^\1```$", page.read_text(), re.DOTALL | re.MULTILINE)
    return [(info, re.sub(rf"^{indent}", "", block, flags=re.MULTILINE)) for indent, info, block in blocks]


def blocks_of(page: Path, info: str) -> list[str]:
    return [block for kind, block in all_blocks(page) if kind == info]


def section(page: Path, title: str) -> str:
    """The text below a heading of the second level."""
    return re.split(r"^## ", page.read_text().split(f"\n## {title}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]


async def shell(script: str, server: Server, folder: Path) -> str:
    """Run a page's lines in a checkout whose data folder is that of `server`; return their output."""
    (folder / "docs").symlink_to(DOCS)
    (folder / ".nomadcrew").symlink_to(server.home)
    (folder / ".venv" / "bin").mkdir(parents=True)
    for program in ("python", "nomadcrew"):
        # A symbolic link to an interpreter would not find its environment.
        wrapper = folder / ".venv" / "bin" / program
        wrapper.write_text(f'#!/bin/sh\nexec "{Path(sys.executable).with_name(program)}" "$@"\n')
        wrapper.chmod(0o755)
    # Unbuffered, a listener's line and that of another command would mix.
    left_out = ("NOMADCREW_", "PYTHONUNBUFFERED")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(left_out)}
    process = await asyncio.create_subprocess_exec(
        "bash", "-euc", CLEAN_UP + script.replace("http://127.0.0.1:8080", server.url),
        cwd=folder, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(60):
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def test_the_tour_prints_the_output_on_its_pages(tmp_path: Path) -> None:
    script = "".join(block for page in TOUR for block in blocks_of(page, "sh tour"))
    async with Server() as server:
        printed = await shell(script, server, tmp_path)
    shown = "".join(block for page in TOUR for block in blocks_of(page, "text tour"))
    for text in (printed, shown):
        assert [line for line in OUTPUT.split("\n") if line not in text] == [], text
    assert len(printed.splitlines()) == len(shown.splitlines()), printed


def test_no_other_page_has_a_tour() -> None:
    assert [page for page in PAGES if blocks_of(page, "sh tour") and page not in TOUR] == []


async def test_the_backup_commands_make_and_restore_a_backup(server: Server, api: Api, tmp_path: Path) -> None:
    [block] = blocks_of(OPERATING, "sh backup")
    script, start = block.rstrip().rsplit("\n", 1)
    assert start == "NOMADCREW_HOME=restored make up"
    printed = await shell(script, server, tmp_path)
    assert printed.count("Done: ") == 2
    assert (tmp_path / "restored" / "folder.json").exists()
    assert (await api.send("GET", "/health/readiness")).status_code == 200


def test_readme_shows_the_listener_as_it_is() -> None:
    assert blocks_of(README, "python listen") == [(DOCS / "listen.py").read_text()]


def test_readme_has_at_most_200_lines() -> None:
    assert len(README.read_text().splitlines()) <= 200


def test_readme_links_every_page() -> None:
    linked = set(re.findall(r"\]\(([^)#]+)", README.read_text()))
    assert [
        page.name for page in DOCS.glob("*.md") if f"docs/{page.name}" not in linked | {"docs/rehearsal.md"}
    ] == []


def test_the_commands_table_has_every_command() -> None:
    table = section(OPERATING, "Commands")
    assert [name for name in nomadcrew.commands if f"`{name}" not in table] == []


def test_the_frames_table_has_every_frame() -> None:
    table = section(DOCS / "sockets.md", "Frames that a client may send")
    assert [name for name in frames.rows if not re.search(rf'[`"]{name}[`"]', table)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_named_files_exist(page: Path) -> None:
    text = page.read_text()
    links = [path for path in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text) if "://" not in path]
    missing = [path for path in links if not (page.parent / path).exists()]
    named = re.findall(r"`((?:src|tests|docs|migrations|deploy|bench|requirements|infrastructure)/[\w./-]*)`", text)
    missing += [path for path in named if not (ROOT / path).exists()]
    if page.parent != DOCS / "adr":  # a decision names the files of its time
        inside = re.findall(rf"`((?:{'|'.join(SOURCE_FOLDERS)})/[\w./-]*)`", text)
        missing += [path for path in inside if not (ROOT / "src" / "nomadcrew" / path).exists()]
    assert [path for path in missing if "what_it_does" not in path] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_a_heading_find_it(page: Path) -> None:
    for path, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text()):
        target = page.parent / path if path else page
        headings = re.findall(r"(?m)^#+ (.*)$", target.read_text())
        assert anchor in [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_block_is_of_a_checked_kind_and_names_real_commands(page: Path) -> None:
    targets = re.findall(r"(?m)^([\w-]+):", (ROOT / "Makefile").read_text())
    for kind, block in all_blocks(page):
        assert kind in KINDS
        if kind.startswith("sh"):
            made = re.findall(r"(?m)(?:^|[^\w-])make ([\w-]+)", block)
            run = re.findall(r"bin/nomadcrew ([\w-]+)", block)
            assert [name for name in made if name not in targets] == []
            assert [name for name in run if name not in nomadcrew.commands] == []


def snippets() -> Iterator[tuple[str, str]]:
    """The file that each snippet names in its first line, and the rest of the snippet."""
    for page in PAGES:
        for kind, block in all_blocks(page):
            if kind in {"python", "typescript", "sql"}:
                head, _, rest = block.partition("\n")
                yield re.sub(r"^(#|--|//) ", "", head), rest


@pytest.mark.parametrize(("path", "code"), list(snippets()))
def test_a_snippet_stands_in_the_file_it_names(path: str, code: str) -> None:
    assert code in (ROOT / path).read_text()
