"""The files of PostgreSQL's data directory: creation, settings, and the socket.

If the host is root, PostgreSQL runs as another user, who may be unable to traverse the parents of the data
directory (usually /root). Its programs are therefore started inside the data directory, before the switch of user,
and get the path `/proc/self/cwd`, which resolves without the parents. PostgreSQL never leaves that directory, so
all its other paths are relative to it. This also works for paths that are too long for PostgreSQL's buffers.
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
from nomadcrew.hosts.machine.errors import StartupError
from nomadcrew.hosts.machine.postgres.binaries import Binaries
from nomadcrew.hosts.machine.postgres.os_user import OsUser, host_name

PORT = 5432
ROLE = "nomadcrew"
DATABASE = "nomadcrew"
CONF = "nomadcrew.conf"
DISK_FULL = "No space left on device"
SOCKET = f".s.PGSQL.{PORT}"

_HERE = Path("/proc/self/cwd")
# Older versions leave the directory to find their own programs, and cannot return if the parents are closed.
_STAYS_FROM = 17
_BUILTIN_LOCALE_FROM = 17
# A socket's path has at most 108 bytes on Linux and 104 on macOS, including the final zero.
_SOCKET_PATH_MAX = 103
# PostgreSQL's buffers for paths have 1,024 bytes, including names inside the data directory.
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
    # An ERROR goes to the client. It is not logged, because its text can quote user data.
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
    """The folder of the socket: the path for clients, and the value of PostgreSQL's setting."""

    path: Path
    setting: str


def data_argument(data: Path, account: OsUser, major: int) -> str:
    """The path of `data` for a program of version `major` that is started in it as `account`."""
    needed = account.switch or len(os.fsencode(data)) > _POSTGRES_PATH_MAX
    return str(_HERE) if needed and major >= _STAYS_FROM and _HERE.exists() else str(data)


def create_cluster(folder: DataFolder, binaries: Binaries, account: OsUser, *, sync: bool) -> None:
    """Run initdb in a new folder and rename it to the final one, so that the final folder is complete or empty.

    Raises:
        StartupError: initdb failed, or the final folder contains unknown files.
    """
    if any(folder.postgres.iterdir()):
        raise StartupError(
            f"{folder.postgres} holds files but no database; restore the data folder from a backup, "
            "or set NOMADCREW_HOME to a new one."
        )
    # A new name each time: an initdb whose host was killed may still be writing to its own folder.
    fresh = Path(tempfile.mkdtemp(prefix=_NEW, dir=folder.home))
    try:
        account.own(fresh)
        _initdb(fresh, binaries, account, sync=sync)
        with (fresh / "postgresql.conf").open("a") as conf:
            conf.write(
                f"\n# NomadCrew rewrites that file at every start; it overrides this one.\ninclude '{CONF}'\n"
            )
        fresh.rename(folder.postgres)
        sync_folder(folder.home)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def remove_unfinished(folder: DataFolder) -> None:
    """Remove the folders of initdb runs whose host was killed. An initdb that is still running then fails."""
    for leftover in folder.home.glob(f"{_NEW}*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _initdb(fresh: Path, binaries: Binaries, account: OsUser, *, sync: bool) -> None:
    # Newer versions include C.UTF-8; for older ones the C library must have it.
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
        raise StartupError(f"PostgreSQL's initdb failed to run ({exc}); check {binaries.bin}.") from exc
    if done.returncode != 0:
        raise StartupError(
            failure("PostgreSQL could not create its database", done.stderr.decode(errors="replace"))
        )


def socket_folder(folder: DataFolder, account: OsUser) -> SocketFolder:
    """The folder for the socket, created if needed: `run` in the data folder, or a shorter path elsewhere.

    A socket's path may have 107 bytes, a folder's 4,095.

    Raises:
        StartupError: another user owns the shorter path.
    """
    account.own(folder.run)
    if _fits(folder.run):
        return SocketFolder(folder.run, "../run")
    # /tmp is the same for every later host, independent of its environment.
    base = "/tmp" if os.access("/tmp", os.W_OK) else tempfile.gettempdir()  # noqa: S108
    digest = hashlib.sha256(os.fsencode(folder.postgres)).hexdigest()[:12]
    path = Path(base, f"nomadcrew-{account.uid}-{digest}")
    try:
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as exc:
        raise StartupError(
            f"{path} cannot be created ({exc.strerror}); set NOMADCREW_HOME to a shorter path."
        ) from exc
    status = path.lstat()
    owners = (account.uid, os.geteuid())
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in owners or status.st_mode & 0o077:
        raise StartupError(
            f"{path}, the folder for PostgreSQL's socket, has another owner or is open to other users; "
            "remove it, or set NOMADCREW_HOME to a shorter path."
        )
    account.own(path)
    return SocketFolder(path, str(path))


def socket_folder_named(setting: str, data: Path) -> SocketFolder:
    """The socket folder of a running PostgreSQL; `setting` is from its PID file."""
    return SocketFolder(Path(os.path.normpath(data / setting)), setting)


def _fits(folder: Path) -> bool:
    return len(os.fsencode(folder / SOCKET)) <= _SOCKET_PATH_MAX


def settings_text(socket: SocketFolder, *, unsafe_fast: bool) -> str:
    """The contents of the include file."""
    settings = {
        **_SETTINGS,
        **(_UNSAFE_FAST if unsafe_fast else {}),
        "unix_socket_directories": f'"{socket.setting}"',
    }
    lines = [f"{name} = '{value.replace(chr(39), chr(39) * 2)}'" for name, value in settings.items()]
    return "\n".join(["# Written by NomadCrew at every start; do not edit.", *lines, ""])


def write_settings(data: Path, account: OsUser, text: str) -> None:
    """Write the include file and the access rules: only the host's OS user, only over the socket, no password.

    Raises:
        StartupError: the host's user has no name.
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


def failure(summary: str, output: str) -> str:
    """One sentence from the output of PostgreSQL's programs: the last reason in it, and advice."""
    reasons = _REASON.findall(output) or output.split("\n")[-2:-1] or ["it gave no reason"]
    advice = next((text for sign, text in _ADVICE.items() if sign in output), "fix the cause and start again")
    return f"{summary}: {reasons[-1].strip().rstrip('.')}; {advice}."


_REASON = re.compile(r"(?:FATAL|PANIC|error):\s+(.+)")
_ADVICE = {
    DISK_FULL: "the disk is full, so free some space and start again",
    "Disk quota exceeded": "the disk quota is used up, so free some space and start again",
    "Read-only file system": "mount the disk for writing and start again",
    "Permission denied": "the user that runs PostgreSQL must own its files and be able to reach them, "
    "so change their owner or set NOMADCREW_HOME to a folder that all users can reach",
    "shared memory block": "stop the remaining PostgreSQL processes on this data folder and start again",
}
