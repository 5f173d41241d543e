"""The files of PostgreSQL's data folder: how they come about, how they are set, where the socket is.

Under a host that is root PostgreSQL runs as another user, who may be unable to pass the parents of the data folder
(/root is the usual one). Its programs are therefore started inside the data folder, before the switch of user, and
told that it is `/proc/self/cwd`, which leads there without a look at the parents. PostgreSQL never leaves that
folder, so every other path it is given is relative to it. The same way serves paths too long for its buffers.
"""

import hashlib
import os
import re
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from nomadcrew.adapters.machine.disk import sync_folder, write_whole
from nomadcrew.hosts.machine.data_folder import DataFolder
from nomadcrew.hosts.machine.errors import CannotStart
from nomadcrew.hosts.machine.postgres.binaries import Binaries
from nomadcrew.hosts.machine.postgres.os_user import Account, host_name

PORT = 5432
ROLE = "nomadcrew"
DATABASE = "nomadcrew"
CONF = "nomadcrew.conf"
DISK_FULL = "No space left on device"
SOCKET = f".s.PGSQL.{PORT}"

_HERE = Path("/proc/self/cwd")
# Older versions go to and fro to find their own programs, and fail to come back if parents may not be passed.
_STAYS_FROM = 17
_BUILTIN_LOCALE_FROM = 17
# A socket's path has 108 bytes on Linux and 104 on macOS, its closing zero included.
_SOCKET_PATH_MAX = 103
# PostgreSQL's own buffers for paths have 1,024 bytes, names inside the data folder included.
_POSTGRES_PATH_MAX = 512
_NEW = "postgres.new-"

_SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "40",
    "shared_buffers": "128MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "wal_compression": "off",
    "jit": "off",
    "cluster_name": "nomadcrew",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    # An ERROR goes to whoever asked. It is kept from the log, because its text can quote what people wrote.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_statement": "none",
    "log_checkpoints": "off",
    "log_destination": "stderr",
    "logging_collector": "off",
}
_UNSAFE_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@dataclass(frozen=True, slots=True)
class SocketFolder:
    """The folder of the socket, as clients reach it and as PostgreSQL is told."""

    path: Path
    setting: str


def data_argument(data: Path, account: Account, major: int) -> str:
    """What to name the data folder `data` to a program of version `major` that is started in it as `account`."""
    needed = account.switch or len(os.fsencode(data)) > _POSTGRES_PATH_MAX
    return str(_HERE) if needed and major >= _STAYS_FROM and _HERE.exists() else str(data)


def create_cluster(folder: DataFolder, binaries: Binaries, account: Account, *, sync: bool) -> None:
    """Run initdb beside the final place and move the result there, so that it is there complete or not at all.

    Raises:
        CannotStart: initdb failed, or something unknown lies in the place.
    """
    if any(folder.postgres.iterdir()):
        raise CannotStart(
            f"{folder.postgres} holds files but no database; restore the data folder from a backup, "
            "or set NOMADCREW_HOME to a new one."
        )
    # The name is new each time: an initdb whose host was killed may still be writing into its own.
    fresh = Path(tempfile.mkdtemp(prefix=_NEW, dir=folder.home))
    try:
        account.own(fresh)
        _initdb(fresh, binaries, account, sync=sync)
        with (fresh / "postgresql.conf").open("a") as conf:
            conf.write(
                f"\n# NomadCrew rewrites that file at every start; it has the last word.\ninclude '{CONF}'\n"
            )
        fresh.rename(folder.postgres)
        sync_folder(folder.home)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def remove_unfinished(folder: DataFolder) -> None:
    """Remove what an initdb whose host was killed has left. One that is still running fails by that."""
    for left in folder.home.glob(f"{_NEW}*"):
        shutil.rmtree(left, ignore_errors=True)


def _initdb(fresh: Path, binaries: Binaries, account: Account, *, sync: bool) -> None:
    # Newer versions bring C.UTF-8 themselves; for older ones the C library has to know it.
    builtin = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    command = [
        str(binaries.initdb),
        f"--pgdata={data_argument(fresh, account, binaries.major)}",
        f"--username={ROLE}",
        "--encoding=UTF8",
        "--auth-local=peer",
        "--auth-host=reject",
        "--data-checksums",
        "--no-instructions",
        *(builtin if binaries.major >= _BUILTIN_LOCALE_FROM else ["--locale=C.UTF-8"]),
        *([] if sync else ["--no-sync"]),
    ]
    try:
        done = subprocess.run(  # noqa: S603
            command,
            cwd=fresh,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
            check=False,
            **account.popen,
        )
    except (OSError, subprocess.SubprocessError) as exc:
        raise CannotStart(f"PostgreSQL's initdb does not run ({exc}); check {binaries.bin}.") from exc
    if done.returncode != 0:
        raise CannotStart(failure("PostgreSQL could not create its database", done.stderr.decode(errors="replace")))


def socket_folder(folder: DataFolder, account: Account) -> SocketFolder:
    """The folder for the socket, made if need be: `run` in the data folder, else a short one elsewhere.

    The path of a socket may have 107 bytes, that of a folder 4,095.

    Raises:
        CannotStart: another user holds the place that would be used instead.
    """
    account.own(folder.run)
    if _fits(folder.run):
        return SocketFolder(folder.run, "../run")
    # /tmp is the same for every later host, whatever its environment.
    base = "/tmp" if os.access("/tmp", os.W_OK) else tempfile.gettempdir()  # noqa: S108
    digest = hashlib.sha256(os.fsencode(folder.postgres)).hexdigest()[:12]
    place = Path(base, f"nomadcrew-{account.uid}-{digest}")
    try:
        place.mkdir(mode=0o700, exist_ok=True)
    except OSError as exc:
        raise CannotStart(
            f"{place} cannot be created ({exc.strerror}); set NOMADCREW_HOME to a shorter path."
        ) from exc
    seen = place.lstat()
    if not stat.S_ISDIR(seen.st_mode) or seen.st_uid not in (account.uid, os.geteuid()) or seen.st_mode & 0o077:
        raise CannotStart(
            f"{place}, where PostgreSQL's socket should be, belongs to somebody else or is open to others; "
            "remove it, or set NOMADCREW_HOME to a shorter path."
        )
    account.own(place)
    return SocketFolder(place, str(place))


def socket_folder_named(setting: str, data: Path) -> SocketFolder:
    """The folder that a running PostgreSQL's note names `setting`."""
    return SocketFolder(Path(os.path.normpath(data / setting)), setting)


def _fits(place: Path) -> bool:
    return len(os.fsencode(place / SOCKET)) <= _SOCKET_PATH_MAX


def settings_text(socket: SocketFolder, *, unsafe_fast: bool) -> str:
    """The content of the include file."""
    settings = {
        **_SETTINGS,
        **(_UNSAFE_FAST if unsafe_fast else {}),
        "unix_socket_directories": f'"{socket.setting}"',
    }
    lines = [f"{name} = '{value.replace(chr(39), chr(39) * 2)}'" for name, value in settings.items()]
    return "\n".join(["# Written by NomadCrew at every start; changes are lost.", *lines, ""])


def write_settings(data: Path, account: Account, text: str) -> None:
    """Write the include file and who may connect: the host's OS user over the socket, nobody else, no password.

    Raises:
        CannotStart: the system has no name for the host's user.
        OSError: the disk refused.
    """
    files = {
        CONF: text,
        "pg_hba.conf": "local all all peer map=host\n",
        "pg_ident.conf": f'host "{host_name()}" {ROLE}\n',
    }
    for name, content in files.items():
        write_whole(data / name, content.encode())
        account.own(data / name)


def failure(what: str, said: str) -> str:
    """One sentence from what PostgreSQL's programs said: the last reason they gave, and what to do about it."""
    reasons = _REASON.findall(said) or said.split("\n")[-2:-1] or ["it gave no reason"]
    advice = next((text for sign, text in _ADVICE.items() if sign in said), "repair that and start again")
    return f"{what}: {reasons[-1].strip().rstrip('.')}; {advice}."


_REASON = re.compile(r"(?:FATAL|PANIC|error):\s+(.+)")
_ADVICE = {
    DISK_FULL: "the disk is full, so free some space and start again",
    "Disk quota exceeded": "the disk quota is used up, so free some space and start again",
    "Read-only file system": "mount the disk for writing and start again",
    "Permission denied": "the user PostgreSQL runs as must own its files and be able to reach them, "
    "so repair their owner or set NOMADCREW_HOME to a folder that every user can reach",
    "shared memory block": "end the PostgreSQL processes left on this data folder and start again",
}
