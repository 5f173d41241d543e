"""The generated modules of the clients are those of the present API, and their packages have its version."""

import json
import tomllib
from pathlib import Path

import pytest

import nomadcrew
from clients import generate
from clients.document import models_of, operations_of
from nomadcrew.api.table import ALL_ROUTES

GENERATED = generate.texts()
TYPESCRIPT = generate.HERE / "typescript"


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: str(path.relative_to(generate.HERE)))
def test_a_generated_file_is_fresh(path: Path) -> None:
    assert path.read_text() == GENERATED[path], "run .venv/bin/python -m clients.generate"


def test_every_route_but_pages_is_an_operation() -> None:
    names = {operation.name for operation in operations_of(generate.api())}
    assert names == {route.handler.__name__ for route in ALL_ROUTES if not route.html} - {"join_by_link"}


def test_names_of_models_are_unique() -> None:
    names = [model.name for model in models_of(generate.api())]
    assert len(set(names)) == len(names)


def test_the_packages_have_the_version_of_the_server() -> None:
    python = tomllib.loads((generate.HERE / "python" / "pyproject.toml").read_text())
    typescript = [json.loads((TYPESCRIPT / name).read_text()) for name in ("package.json", "package-lock.json")]
    versions = {python["project"]["version"], *(package["version"] for package in typescript)}
    assert versions == {nomadcrew.__version__}


def test_the_compiler_is_locked_by_its_hash_and_no_address() -> None:
    locked = json.loads((TYPESCRIPT / "package-lock.json").read_text())["packages"]
    packages = {name: package for name, package in locked.items() if name}
    assert list(packages) == ["node_modules/typescript"]
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())
    assert not any("resolved" in package for package in packages.values())


def test_the_typescript_client_has_no_dependencies_at_run_time() -> None:
    assert "dependencies" not in json.loads((TYPESCRIPT / "package.json").read_text())
