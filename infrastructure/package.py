"""The packages of functions: one zip each, with its dependencies only, reproducible to the byte.

Libraries come from wheels for the target machine, by the lock file's hashes; nothing is built here. Unchanged
packages are not built again.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from infrastructure.config import PRESETS, STAGES, Stage, stage_of
from infrastructure.functions import API_FUNCTIONS, FUNCTIONS
from infrastructure.imports import MIGRATIONS_READER, PACKAGE, SOURCE, Needs, data_of, needs_of

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "packages"
LOCK = ROOT / "requirements" / "function.txt"
ROOTS = Path(__file__).with_name("amazon-roots.pem")
PYTHON = "3.13"
PLATFORMS = {"arm64": "aarch64-manylinux_2_28", "x86_64": "x86_64-manylinux_2_28"}
API_LIMIT = 6_000_000  # bytes
# Functions with OpenSSL: tokens of documents are encrypted, signatures of others verified.
API_LIMITS = {"documents": 7_000_000, "identities": 7_000_000, "passkeys": 7_000_000}
# Sources of extensions, types and tests, which are not used at run time.
LEFT_OUT = (".pyi", ".pyx", ".pxd", ".pxi", ".c", ".h", ".typed", ".exe")
# `cffi` builds extensions; built ones need its C module only.
LEFT_OUT_FOLDERS = frozenset({"tests", "_testbase", "bin", "include", "cffi"})
# Commands of Valkey modules; its library imports them on use.
ADD_ONS = tuple(f"valkey/commands/{name}/" for name in ("bf", "graph", "json", "search", "timeseries"))
_EPOCH = (1980, 1, 1, 0, 0, 0)
_MODE = 0o100644 << 16


@cache
def interpreter(version: str) -> str | None:
    """The path of a Python of that version on this machine, or None."""
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        return sys.executable
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [shutil.which(f"python{version}"), *sorted(pyenv.glob(f"{version}.*/bin/python"), reverse=True)]
    for candidate in filter(None, candidates):
        # pyenv's shims on the path fail if the version is not selected.
        command = [str(candidate), "-I", "-c", "import sys; print('%d.%d' % sys.version_info[:2], sys.executable)"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if result.stdout.startswith(f"{version} "):
            return result.stdout.split()[1]
    return None


@dataclass(frozen=True, slots=True)
class Target:
    """The target machine of packages."""

    arch: str
    python: str

    @property
    def interpreter(self) -> str | None:
        """The Python that can compile for the target, or None."""
        return interpreter(self.python)


def api_limit(name: str) -> int:
    """The most bytes of an API function's package: users wait for cold starts, which load it."""
    return API_LIMITS.get(name, API_LIMIT)


def package_path(stage: Stage, arch: str = "arm64", python: str = PYTHON) -> Path:
    """The folder of a stage's packages; stages with the same adapters share it."""
    return BUILD / f"{arch}-{python}-{stage.database.access}-{stage.cache}"


def build(
    stage: Stage, target: Target, folder: Path | None = None, *, only: Collection[str] | None = None
) -> dict[str, int]:
    """Package all functions, or `only` some; returns the sizes of the zips in bytes.

    Raises:
        RuntimeError: a function cannot be loaded, needs a library that is not locked, or is too large.
        subprocess.CalledProcessError: the libraries cannot be installed.
    """
    folder = folder or package_path(stage, target.arch, target.python)
    folder.mkdir(parents=True, exist_ok=True)
    key = _key(stage, target, only)
    manifest = folder / "manifest.json"
    if manifest.is_file():
        known = json.loads(manifest.read_text())
        if known["key"] == key and all((folder / f"{name}.zip").is_file() for name in known["sizes"]):
            return dict(known["sizes"])
    libraries = _libraries(target)
    source_folder = _compiled_source(folder, target)
    names = [spec.name for spec in FUNCTIONS if only is None or spec.name in only]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        needs = dict(zip(names, pool.map(lambda name: needs_of(name, stage, target.python), names), strict=True))
        sizes = dict(
            zip(
                names,
                pool.map(lambda name: _zip(folder, name, needs[name], source_folder, libraries), names),
                strict=True,
            )
        )
    shutil.rmtree(source_folder)
    for name in API_FUNCTIONS:
        limit = api_limit(name)
        if sizes.get(name, 0) > limit:
            raise RuntimeError(f"{name} has {sizes[name]:,} bytes; its limit is {limit:,}.")
    manifest.write_text(json.dumps({"key": key, "sizes": sizes}))
    return sizes


def _key(stage: Stage, target: Target, only: Collection[str] | None) -> str:
    """A digest of all inputs of a package."""
    chosen = (target, target.interpreter, stage.database.access, stage.cache, sorted(only or ()))
    digest = hashlib.sha256(repr(chosen).encode())
    files = [
        LOCK,
        ROOTS,
        *sorted((ROOT / "migrations").glob("*.sql")),
        *sorted(Path(__file__).parent.glob("*.py")),
        *sorted(path for path in (SOURCE / PACKAGE).rglob("*") if path.is_file() and path.suffix != ".pyc"),
    ]
    for file in files:
        digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def _uv() -> str:
    return str(Path(sys.executable).with_name("uv"))


def _libraries(target: Target) -> Path:
    """All locked libraries for the target, compiled; installed once per state of the lock file."""
    digest = hashlib.sha256(
        LOCK.read_bytes() + Path(__file__).read_bytes() + (target.interpreter or "").encode()
    ).hexdigest()[:16]
    folder = BUILD / "libraries" / f"{target.arch}-{target.python}-{digest}"
    if folder.is_dir():
        return folder
    fresh = folder.with_suffix(".new")
    shutil.rmtree(fresh, ignore_errors=True)
    subprocess.run(  # noqa: S603 — a program of our own environment
        [
            _uv(), "pip", "install", "--quiet", "--target", str(fresh), "--require-hashes", "--no-deps",
            "--python-platform", PLATFORMS[target.arch], "--python-version", target.python,
            "--only-binary=:all:", "--no-compile-bytecode", "--link-mode=copy", "-r", str(LOCK),
        ],
        check=True,
    )  # fmt: skip
    # Without docstrings.
    _compile(fresh, target, "-b", "-o", "2")
    fresh.rename(folder)
    return folder


def _compiled_source(folder: Path, target: Target) -> Path:
    """A copy of our package with its migrations, compiled."""
    source_folder = folder / "source"
    shutil.rmtree(source_folder, ignore_errors=True)
    shutil.copytree(SOURCE / PACKAGE, source_folder / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "migrations", source_folder / PACKAGE / "migrations")
    _compile(source_folder, target, "-b")
    return source_folder


def _compile(folder: Path, target: Target, *how: str) -> None:
    """Compile for the target, if its Python is available; independent of the files' times."""
    interpreter = target.interpreter
    if interpreter is None:
        print(f"No Python {target.python} on this machine: packages are not compiled, and start more slowly.")
        return
    subprocess.run(  # noqa: S603 — a Python of this machine
        [
            interpreter, "-I", "-m", "compileall", "-q", *how, "--invalidation-mode", "unchecked-hash",
            "-s", str(folder), "-p", "/var/task", str(folder),
        ],
        env={"PYTHONHASHSEED": "0", "PATH": os.environ.get("PATH", "")},
        check=True,
    )  # fmt: skip


def _zip(folder: Path, name: str, needs: Needs, source_folder: Path, libraries: Path) -> int:
    files = dict(_own_files(needs, source_folder)) | dict(_library_files(needs, libraries)) | {ROOTS.name: ROOTS}
    path = folder / f"{name}.zip"
    fresh = path.with_suffix(".new")
    with zipfile.ZipFile(fresh, "w") as archive:
        for inside, file in sorted(files.items()):
            entry = zipfile.ZipInfo(inside, _EPOCH)
            entry.external_attr, entry.create_system = _MODE, 3
            archive.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED, 9)
    fresh.rename(path)
    return path.stat().st_size


def _own_files(needs: Needs, source_folder: Path) -> Iterator[tuple[str, Path]]:
    for module in needs.modules:
        path = source_folder.joinpath(*module.split("."))
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        yield _compiled(file, source_folder)
    data = [source_folder / PACKAGE / path for path in data_of(needs.modules)]
    if MIGRATIONS_READER in needs.modules:
        data.append(source_folder / PACKAGE / "migrations")
    for path in data:
        for file in [path, *path.rglob("*")]:
            if file.is_file():
                yield str(file.relative_to(source_folder)), file


def _compiled(file: Path, root: Path) -> tuple[str, Path]:
    """The packaged file of a module: compiled if possible; tracebacks' source lines are in the repository."""
    compiled = file.with_suffix(".pyc")
    chosen = compiled if compiled.is_file() else file
    return str(chosen.relative_to(root)), chosen


def _library_files(needs: Needs, libraries: Path) -> Iterator[tuple[str, Path]]:
    for distribution in needs.distributions:
        record = next(libraries.glob(f"{distribution.replace('-', '_')}-*.dist-info/RECORD"), None)
        if record is None:
            raise RuntimeError(f"{distribution} is not in requirements/function.in, the libraries of functions.")
        for line in record.read_text().splitlines():
            inside = line.rsplit(",", 2)[0].strip('"')
            file = libraries / inside
            if not _is_left_out(inside) and file.is_file():
                yield _compiled(file, libraries) if file.suffix == ".py" else (inside, file)


def _is_left_out(inside: str) -> bool:
    parts = inside.split("/")
    return (
        inside.endswith(LEFT_OUT)
        or ".." in parts
        or ".dist-info" in parts[0]
        or not LEFT_OUT_FOLDERS.isdisjoint(parts[:-1])
        or inside.startswith(ADD_ONS)
    )


def table(sizes: Mapping[str, int]) -> str:
    """The sizes as a table."""
    rows = [f"{name:<14} {size / 1_000:>8,.0f} kB" for name, size in sorted(sizes.items(), key=lambda row: -row[1])]
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make package", description="Package all functions.")
    parser.add_argument("--stage", choices=STAGES, default="rehearsal")
    parser.add_argument("--preset", choices=sorted(PRESETS))
    parser.add_argument("--arch", choices=sorted(PLATFORMS), default="arm64")
    parser.add_argument("--python", default=PYTHON, help="version of the Python that will run them")
    options = parser.parse_args()
    stage = stage_of(options.stage, options.preset, environment={"CDK_DEFAULT_ACCOUNT": "", **os.environ})
    target = Target(options.arch, options.python)
    sizes = build(stage, target)
    print(table(sizes))
    print(f"in {package_path(stage, target.arch, target.python).relative_to(ROOT)}")


if __name__ == "__main__":
    main()
