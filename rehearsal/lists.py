"""Two frozen lists of tests: those that a rehearsal must run, and those that need the machine host.

`python -m rehearsal.lists` rewrites them; a test compares them with the existing tests.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MUST_RUN = Path(__file__).with_name("must_run.txt")
ONE_MACHINE = Path(__file__).with_name("one_machine.txt")
_MARK = "rehearsal-list "


def must_run() -> list[str]:
    return MUST_RUN.read_text().splitlines()


def texts() -> tuple[str, str]:
    """The contents of the two lists, from the existing tests."""
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "--collect-only",
            "-q",
            "-p",
            "rehearsal.lists",
            "tests/e2e",
            "tests/rehearsal",
        ],
        cwd=ROOT,
        env={**os.environ, "E2E_URL": "http://elsewhere.invalid"},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line.removeprefix(_MARK) for line in run.stdout.splitlines() if line.startswith(_MARK)]
    if run.returncode or not lines:
        raise RuntimeError(run.stdout + run.stderr)
    tests = [json.loads(line) for line in lines]
    runs = {test["id"] for test in tests if test["reason"] is None}
    # A parametrised test is one line: its reason does not depend on its parameters.
    skipped = {f"{test['id'].partition('[')[0]}: {test['reason']}" for test in tests if test["reason"]}
    return _text(runs), _text(skipped)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Print each test and the reason why it needs the machine host; this module is the pytest plugin."""
    for item in session.items:
        mark = item.get_closest_marker("one_machine")
        print(_MARK + json.dumps({"id": item.nodeid, "reason": mark.args[0] if mark else None}))


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in sorted(lines))


if __name__ == "__main__":
    for path, text in zip((MUST_RUN, ONE_MACHINE), texts(), strict=True):
        path.write_text(text)
