"""Finds the dependencies of a function by loading it: our modules, and libraries.

A fresh interpreter imports the handler's module and creates all of its declared ports, as a cold start in Lambda
and the first requests would. Modules that these import later, inside functions, are added; except those of `LAZY`,
which could import every adapter but does so for declared ports only.
"""

import ast
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from infrastructure.config import Stage
from infrastructure.functions import module_of, ports_of, services_of
from infrastructure.grants import sql_access

SOURCE = Path(__file__).parents[1] / "src"
PACKAGE = "nomadcrew"
# These modules import an adapter where they create its port, so only the imports that the probe saw count.
LAZY = tuple(
    f"{PACKAGE}.{name}"
    for name in (
        "adapters.postgres.ports",
        "hosts.aws.realtime_port_factory",
        "hosts.aws.port_factory",
        "hosts.aws.ports",
    )
)
# Data files and folders by the module that reads them, relative to the package.
DATA = {
    "nomadcrew.core.auth.passwords": "core/auth/common_passwords.txt",
    "nomadcrew.adapters.postgres.sql": "adapters/postgres/statements",
    "nomadcrew.api.rendering": "api/templates",
    "nomadcrew.api.examples": "api/examples.json",
    "nomadcrew.hosts.aws.allowed_methods": "hosts/aws/allowed_methods.txt",
}
# Modules of Python that read files of the system, and the library with the same files.
FILES_OF_PYTHON = {"zoneinfo": "tzdata"}
MIGRATIONS_READER = "nomadcrew.adapters.postgres.migrations"
# `cffi` needs the first to build extensions, `email-validator` the second to look up domains; neither happens here.
# msgspec imports the third if it is there, for what this Python has itself.
NEVER_RUN = frozenset({"pycparser", "dnspython", "typing-extensions"})
_PARSING = threading.Lock()

PROBE = """
import importlib, json, os, sys
before = set(sys.modules)
name, declared = sys.argv[1], tuple(json.loads(sys.argv[2]))
importlib.import_module(name)
if declared:
    from nomadcrew.hosts.aws.ports import ports_in
    from nomadcrew.core.errors import Unavailable
    ports = ports_in(os.environ, declared)
    for name in ports.__struct_fields__:
        try:
            getattr(getattr(ports, name), "made", None)
        except Unavailable:
            pass  # it wanted to read the secret, and has imported what it needs
        except RuntimeError as error:
            if "does not declare" not in str(error):
                raise
print(json.dumps(sorted(set(sys.modules) - before)))
"""


@dataclass(frozen=True, slots=True)
class Needs:
    """Full names of our modules, and names of other distributions."""

    modules: frozenset[str]
    distributions: frozenset[str]


def needs_of(function: str, stage: Stage, python: str) -> Needs:
    """The contents of a function's package for a version of Python.

    Raises:
        RuntimeError: the function cannot be loaded; the message is its traceback.
    """
    seen = _probed(function, stage)
    ours = {name for name in seen if _is_ours(name) and _file_of(name) is not None}
    # Libraries by the imports of our modules: others that were loaded are optional, or specific to this Python.
    others: set[str] = set()
    waiting = sorted(ours)
    while waiting:
        module = waiting.pop()
        if module.startswith(LAZY):
            continue
        for name in imported_by(module):
            if not _is_ours(name):
                others.add(name.partition(".")[0])
            else:
                new = set(_with_parents(name)) - ours
                ours |= new
                waiting += new
    return Needs(frozenset(ours), frozenset(_distributions(others, python)))


def data_of(modules: Iterable[str]) -> list[Path]:
    """The files and folders that these modules read, relative to the package."""
    return [Path(data) for reader, data in DATA.items() if reader in set(modules)]


@cache
def imported_by(module: str) -> frozenset[str]:
    """All modules that one of our modules imports, except those under TYPE_CHECKING."""
    file = _file_of(module)
    assert file is not None
    names: set[str] = set()
    # Concurrent calls of `ast.parse` corrupt CPython 3.11's recursion counter.
    with _PARSING:
        _Imports(names).visit(ast.parse(file.read_text()))
    return frozenset(names)


class _Imports(ast.NodeVisitor):
    def __init__(self, names: set[str]) -> None:
        self._names = names

    def visit_If(self, node: ast.If) -> None:
        if not (isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"):
            self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        self._names.update(alias.name for alias in node.names)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.module is None:
            return
        self._names.add(node.module)
        if _is_ours(node.module):
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            self._names.update(name for name in names if _file_of(name) is not None)


def _probed(function: str, stage: Stage) -> list[str]:
    run = subprocess.run(  # noqa: S603 — our own interpreter and code
        [sys.executable, "-I", "-c", PROBE, module_of(function), json.dumps(ports_of(function))],
        env=function_environment(function, stage),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if run.returncode:
        raise RuntimeError(f"{function} cannot be loaded:\n{run.stderr}")
    seen: list[str] = json.loads(run.stdout.splitlines()[-1])
    return seen


def function_environment(function: str, stage: Stage) -> dict[str, str]:
    """A function's environment with all variables set, so that every port can be created."""
    from nomadcrew.adapters.aws.sdk.config import AwsConfig, variable

    ours = {variable(name): "https://sqs.invalid/0/x" for name in AwsConfig.__struct_fields__}
    return {
        **ours,
        "PATH": os.environ.get("PATH", ""),
        "AWS_LAMBDA_FUNCTION_NAME": "probe",
        "AWS_REGION": stage.region,
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",  # no server listens there
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "NOMADCREW_MAIL_FROM": stage.mail_from,
        "NOMADCREW_RATE_LIMITS": "",
        "NOMADCREW_WEBHOOK_NETWORKS": "",
        "NOMADCREW_AWS_SQL": sql_access(services_of(function), stage),
        "NOMADCREW_AWS_CACHE": stage.cache,
        "NOMADCREW_AWS_STREAM": stage.stream,
        "NOMADCREW_AWS_LOCATION_STORE": stage.location_store,
        "NOMADCREW_AWS_CACHE_ENDPOINT": "cache.invalid:6379",
        "NOMADCREW_AWS_USER_POOL_ID": f"{stage.region}_none",
        "NOMADCREW_AWS_FLAGS": "application/environment/profile",
    }


def _is_ours(name: str) -> bool:
    return name == PACKAGE or name.startswith(f"{PACKAGE}.")


@cache
def _file_of(module: str) -> Path | None:
    path = SOURCE.joinpath(*module.split("."))
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file():
            return file
    return None


def _with_parents(module: str) -> list[str]:
    parts = module.split(".")
    names = [".".join(parts[: n + 1]) for n in range(len(parts))]
    return [name for name in names if _file_of(name) is not None]


def _distributions(modules: Iterable[str], python: str) -> set[str]:
    """The distributions of these modules and all that they require under a version of Python."""
    by_module = packages_distributions()
    under = {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    found: set[str] = set()
    waiting = [FILES_OF_PYTHON[module] for module in modules if module in FILES_OF_PYTHON]
    waiting += [
        name for module in modules if module not in sys.stdlib_module_names for name in by_module.get(module, ())
    ]
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in found or name in NEVER_RUN:
            continue
        found.add(name)
        wanted = map(Requirement, requires(name) or [])
        waiting += [each.name for each in wanted if each.marker is None or each.marker.evaluate(under)]
    return found
