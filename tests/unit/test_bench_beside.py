"""The comparison of two servers reads its shape and hides no failure."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bench import prepare
from bench.beside import Row, Run, report
from bench.machine import cpu_seconds, tree_cpu_seconds
from bench.requests import Person, Template, schedule
from bench.shape import BadShape, Shape, Side, User, read

SHAPES = Path(prepare.__file__).with_name("shapes")


def run(per_s: float, cpu_us: float = 100.0) -> Run:
    return Run(per_s, 1.0, 2.0, cpu_us, None, 500.0)


def test_the_example_fills_all_of_its_templates() -> None:
    shape = read((SHAPES / "monolith.json").read_bytes())
    for side, users in (("a", shape.a.users), ("b", shape.b.users)):
        for kind in shape.kinds.values():
            other = getattr(kind, side)
            template = Template(kind.method, kind.path, (other and other.body) or kind.body)
            assert schedule({"": template}, {"": 1}, [Person("t", user.trips) for user in users])


def test_a_prepared_shape_can_be_read() -> None:
    side = Side([User("ana@example.org", "secret", ({"trip": "1"},))])
    shape = Shape(prepare.KINDS, {"day": prepare.DAY}, side, side)
    assert read(msgspec.json.encode(shape)) == shape


@pytest.mark.parametrize("rows", ['{"day": {"unknown": 1}}', '{"day": {}}', '{"day": {"trips": 0}}'])
def test_a_row_of_unknown_or_no_kinds_is_refused(rows: str) -> None:
    kinds, side = '{"trips": {"method": "GET", "path": "/v1/trips"}}', '{"users": [{"token": "t"}]}'
    with pytest.raises(BadShape):
        read(f'{{"kinds": {kinds}, "rows": {rows}, "a": {side}, "b": {side}}}'.encode())


def test_ratios_are_medians_over_rounds_with_their_range() -> None:
    rounds = [
        {"A": [run(90), run(110)], "B": [run(200), run(200)]},
        {"A": [run(100)], "B": [run(100)]},
        {"A": [run(100)], "B": [run(300)]},
    ]
    cells = [cell.strip() for cell in report([Row("todo", 16, rounds)]).splitlines()[2].split("|")]
    assert cells[3] == "100 → 200 ×2.00 (1.00–3.00)"
    assert cells[7] == "–"


def test_a_failed_row_shows_its_reason_instead_of_figures() -> None:
    shown = report([Row("todo", 16, [{"A": [run(90)], "B": [run(200)]}], failure="B: 3 × 429, of 900 requests")])
    assert "FAILED todo at 16 connections: B: 3 × 429, of 900 requests" in shown
    assert "200" not in shown


SPIN = "import time\nwhile time.process_time() < 0.2: pass\n"


@pytest.fixture
def parent() -> Iterator["subprocess.Popen[str]"]:
    """A process that is idle after its ended child and its living child each used 0.2 s."""
    child = f"import sys\n{SPIN}print(flush=True)\nsys.stdin.read()"
    program = (
        "import subprocess, sys\n"
        f"subprocess.run([sys.executable, '-c', {SPIN!r}])\n"
        f"command, pipe = [sys.executable, '-c', {child!r}], subprocess.PIPE\n"
        "living = subprocess.Popen(command, stdin=pipe, stdout=pipe)\n"
        "living.stdout.readline()\nprint(living.pid, flush=True)\nsys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def test_a_tree_has_the_cpu_of_living_and_ended_children(parent: "subprocess.Popen[str]") -> None:
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    own_s, tree_s = cpu_seconds(parent.pid), tree_cpu_seconds(parent.pid)
    without_s = tree_cpu_seconds(parent.pid, without={child})
    assert without_s >= own_s + 0.18
    assert tree_s >= without_s + 0.18
