"""The version is defined in one place, and every other place reads it from there."""

import re
import tomllib
from pathlib import Path

from click.testing import CliRunner

import nomadcrew
from nomadcrew.cli import nomadcrew as command

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "nomadcrew" / "__init__.py"


def test_pyproject_reads_the_version_from_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in project["project"]
    assert project["project"]["dynamic"] == ["version"]
    assert ROOT / project["tool"]["hatch"]["version"]["path"] == SOURCE


def test_no_other_source_file_spells_the_version() -> None:
    spelled = re.compile(rf"(?<![\d.]){re.escape(nomadcrew.__version__)}(?![\d.])")
    files = [path for path in (ROOT / "src").rglob("*.py") if spelled.search(path.read_text())]
    files += [path for path in (ROOT / "pyproject.toml", ROOT / "Makefile") if spelled.search(path.read_text())]
    assert files == [SOURCE]


def test_the_command_prints_the_version() -> None:
    assert CliRunner().invoke(command, ["--version"]).output == f"nomadcrew, version {nomadcrew.__version__}\n"


def test_the_changelog_begins_with_this_version() -> None:
    versions = re.findall(r"(?m)^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d{2}-\d{2}$", (ROOT / "CHANGELOG.md").read_text())
    assert versions[0] == nomadcrew.__version__
