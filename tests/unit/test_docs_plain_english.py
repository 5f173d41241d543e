"""Docstrings, comments, refusals, log messages and test names are plain English; CONTRIBUTING.md has the rule."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("src", "tests", "infrastructure", "rehearsal", "bench", "clients")
SOURCES = sorted(
    path
    for folder in FOLDERS
    for path in (ROOT / folder).rglob("*")
    if path.suffix in {".py", ".sql"} and "node_modules" not in path.parts
)
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("clients/*/README.md")])

VAGUE = re.compile(r"(?i)\b(?:somebody|someone|nobody|no one|anybody|anyone|everybody|everyone|whoever|whomever)\b")
RIDDLE = re.compile(r"^Whether\b|(?:^|(?<=[.!?:;] ))(?:What|Who|Whoever|Whom|Whose|Where|That)\b(?! \w+\b[^.!]*\?)")
# The first two spell the forbidden words; the third has the name that the shipped app shows without a name.
EXEMPT = {Path(__file__), ROOT / "CONTRIBUTING.md", ROOT / "tests" / "unit" / "test_notifications_texts.py"}


def prose_of(path: Path) -> Iterator[tuple[int, str]]:
    """The sentences of a file with their lines: docstrings and other strings with spaces, comments, test names."""
    text = path.read_text()
    if path.suffix == ".sql":
        yield from _sql_comments(text)
        return
    if path.suffix == ".md":
        yield from _paragraphs(text)
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            for paragraph in node.value.split("\n\n"):
                yield node.lineno, _flat(paragraph)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node.lineno, node.name.removeprefix("test_").replace("_", " ").capitalize()
    yield from _comments(text)


def _comments(text: str) -> Iterator[tuple[int, str]]:
    start, last, lines = 0, 0, list[str]()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT or token.string.startswith("#!"):
            continue
        alone = token.line.lstrip().startswith("#")
        if lines and not (alone and token.start[0] == last + 1):
            yield start, _flat(" ".join(lines))
            lines = []
        start = start if lines else token.start[0]
        last = token.start[0]
        lines.append(re.sub(r"^#:?\s*(?:noqa[^—]*(?:—|$)|type: ignore[^—]*(?:—|$))?", "", token.string))
    if lines:
        yield start, _flat(" ".join(lines))


def _sql_comments(text: str) -> Iterator[tuple[int, str]]:
    for match in re.finditer(
        r"(?:^[ \t]*--(?! name:)(?! split).*\n?)+|--(?! name:)(?! split).*", text, re.MULTILINE
    ):
        yield text[: match.start()].count("\n") + 1, _flat(re.sub(r"(?m)^\s*--", "", match.group()))


def _paragraphs(text: str) -> Iterator[tuple[int, str]]:
    shown = re.sub(r"(?ms)^( *)```.*?^\1```", lambda block: "\n" * block.group().count("\n"), text)
    line = 1
    for paragraph in shown.split("\n\n"):
        for offset, row in enumerate(paragraph.split("\n") if "|" in paragraph else [paragraph]):
            cells = row.split("|") if "|" in row else [row]
            yield from ((line + offset, _flat(re.sub(r"^[#>*\-\s\d.]+", "", cell.strip()))) for cell in cells)
        line += paragraph.count("\n") + 2


def _flat(text: str) -> str:
    return " ".join(text.split())


def riddles_in(path: Path) -> list[str]:
    """Each place that breaks the rule, as `line: word: sentence`; names in backticks or quotes are code."""
    found = []
    for line, text in prose_of(path):
        words = re.sub(r"`[^`]*`|\"[^\"]*\"|“[^”]*”", "…", text)
        found += [
            f"{line}: {match.group()!r} in: {text[max(0, match.start() - 40) : match.end() + 60]}"
            for pattern in (VAGUE, RIDDLE)
            for match in pattern.finditer(words)
        ]
    return found


@pytest.mark.parametrize("path", [*SOURCES, *PAGES], ids=lambda path: str(path.relative_to(ROOT)))
def test_every_sentence_has_a_plain_subject(path: Path) -> None:
    found = [] if path in EXEMPT else riddles_in(path)
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ('"""What a trip is."""', 1),
        ('"""A trip. Where it leads."""', 1),
        ("# Nobody reads this", 1),
        ("raise ValueError('somebody else has it')", 1),
        ("def test_nobody_reads() -> None: ...", 1),
        ("def test_what_was_read_stays() -> None: ...", 1),
        ('"""Delete a trip.\n\n    What remains is listed.\n    """', 1),
        ('"""Delete a trip that ended, where allowed."""', 0),
        ('"""Runs as the user `nobody`."""', 0),
    ],
)
def test_the_rule_finds_what_it_forbids_and_nothing_else(tmp_path: Path, text: str, count: int) -> None:
    path = tmp_path / "sample.py"
    path.write_text(text)
    assert len(riddles_in(path)) == count
