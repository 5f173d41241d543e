"""What a function loads before its first event: a cold start is mostly imports, and their number is never flaky."""

import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from nomadcrew import functions

# How many modules INIT may load on top of a bare interpreter's. Raise a number with the import that needs it; a few
# are left for what other versions of Python load.
BUDGETS = {
    "auth": 245,
    "invitation": 230,
    "member": 230,
    "notification": 225,
    "page": 275,
    "todo": 225,
    "trip": 230,
    "user": 230,
}
EVERYWHERE = {"asyncpg", "msgspec", "nomadcrew", "typing_extensions"}
# What else a function may load; a page is a template.
OWN = {"page": {"jinja2", "markupsafe"}}
# Compiled modules of Cython name themselves into the table.
CYTHON = ("cython_runtime", "_cython_")
OURS_EVERYWHERE = (
    "nomadcrew.adapters.embedded.limits",
    "nomadcrew.adapters.postgres.database",
    "nomadcrew.adapters.postgres.sql",
    "nomadcrew.bootstrap",
    "nomadcrew.core",
    "nomadcrew.logs",
    "nomadcrew.settings",
    "nomadcrew.wire",
)
LAMBDA = {
    "AWS_LAMBDA_FUNCTION_NAME": "test",
    "NOMADCREW_DATABASE_URL": "postgresql://nobody@nowhere/nothing",
    "NOMADCREW_PUBLIC_URL": "https://api.test",
}
LOAD = """
import sys
before = set(sys.modules)
__import__("nomadcrew.functions." + sys.argv[1])
print(*sorted(set(sys.modules) - before))
"""


@cache
def loaded_by(function: str, *, in_lambda: bool = True) -> frozenset[str]:
    """The modules that a function's import adds to a fresh interpreter's."""
    run = subprocess.run(
        [sys.executable, "-I", "-c", LOAD, function],
        env=LAMBDA if in_lambda else {},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return frozenset(run.stdout.split())


def is_ours(module: str, function: str) -> bool:
    """Whether this module of the package has a place in that function."""
    allowed = (*OURS_EVERYWHERE, f"nomadcrew.functions.{function}")
    packages = ("nomadcrew", "nomadcrew.functions", "nomadcrew.adapters", "nomadcrew.adapters.embedded",
                "nomadcrew.adapters.postgres")  # fmt: skip
    return module in packages or any(module == name or module.startswith(f"{name}.") for name in allowed)


def test_every_function_has_a_budget() -> None:
    [folder] = functions.__path__
    with_handler = {file.stem for file in Path(folder).glob("*.py") if "\nhandler = " in file.read_text()}
    assert with_handler == BUDGETS.keys()


@pytest.mark.parametrize("function", BUDGETS)
def test_a_function_loads_no_library_it_does_not_use(function: str) -> None:
    allowed = sys.stdlib_module_names | EVERYWHERE | OWN.get(function, set())
    strange = {name.partition(".")[0] for name in loaded_by(function)} - allowed
    assert {name for name in strange if not name.startswith(CYTHON)} == set()


@pytest.mark.parametrize("function", BUDGETS)
def test_a_function_loads_no_other_part_of_ours(function: str) -> None:
    ours = {name for name in loaded_by(function) if name.partition(".")[0] == "nomadcrew"}
    assert {name for name in ours if not is_ours(name, function)} == set()


@pytest.mark.parametrize("function", BUDGETS)
def test_a_function_stays_within_its_budget(function: str) -> None:
    assert len(loaded_by(function)) <= BUDGETS[function]


def test_a_function_is_wired_at_load_in_lambda_only() -> None:
    assert "asyncpg" in loaded_by("trip")
    outside = loaded_by("trip", in_lambda=False)
    assert "asyncpg" not in outside
    assert {name for name in outside if name.startswith("nomadcrew.adapters")} == set()
