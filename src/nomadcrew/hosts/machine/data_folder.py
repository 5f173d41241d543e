"""The data folder: everything that one host stores, and the lock that makes it the only host."""

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nomadcrew import __version__
from nomadcrew.adapters.machine.disk import remove_partial, write_whole
from nomadcrew.hosts.machine.errors import AlreadyRunning, StartupError

FORMAT = 1
MIN_FREE_BYTES = 200 * 2**20
# A command may write beside a host that starts.
LONGEST_WRITE_S = 60.0

RESTORING = ".restoring-"

# Entries of a folder that still counts as empty: a volume's own folder, and leftovers of a host that was killed in
# its first moment or in a restore.
_NOT_CONTENT = ("lost+found", ".folder.json.", RESTORING)


class DataFolder:
    """`NOMADCREW_HOME`: `folder.json`, `host.lock` and the sub-folders postgres, keys, files, mail and run."""

    def __init__(self, home: Path, *, min_free: int = MIN_FREE_BYTES) -> None:
        """`min_free`: bytes of disk space that `open` requires."""
        self.home = Path(os.path.realpath(home))
        self.postgres = self.home / "postgres"
        self.keys = self.home / "keys"
        self.mail = self.home / "mail"
        self.files = self.home / "files"
        self.run = self.home / "run"
        self._marker = self.home / "folder.json"
        self._min_free = min_free

    def open(self, postgres_major: int) -> None:
        """Prepare the folder for this version and this PostgreSQL; create it on first use.

        Raises:
            StartupError: the folder is not usable; nothing was changed unless the disk itself failed.
        """
        self.check(postgres_major)
        try:
            self._create()
        except OSError as exc:
            raise StartupError(
                f"The data folder {self.home} cannot be created ({exc.strerror}); "
                "check its disk and permissions, or set NOMADCREW_HOME to another folder."
            ) from exc

    def check(self, postgres_major: int) -> None:
        """Check that `open` would accept the folder, without changes to it.

        Raises:
            StartupError: it would not.
        """
        self._check_path()
        try:
            if not self.is_empty():
                self.check_contents(postgres_major)
            self._check_space()
        except OSError as exc:
            raise StartupError(
                f"The data folder {self.home} cannot be used ({exc.strerror}); set NOMADCREW_HOME to another one."
            ) from exc

    def check_contents(self, postgres_major: int) -> None:
        """Check that this is a data folder of this version and this PostgreSQL.

        Raises:
            StartupError: it is not.
        """
        self._check_ours()
        self._check_postgres(postgres_major)

    def is_empty(self) -> bool:
        """True if the folder does not exist or is empty."""
        try:
            return all(entry.name.startswith(_NOT_CONTENT) for entry in self.home.iterdir())
        except FileNotFoundError:
            return True

    @contextmanager
    def lock(self, address: str = "") -> Iterator[None]:
        """Be the folder's only host for the block; `address` is shown to other hosts.

        The kernel releases the lock when the process ends, however it ends; child processes do not inherit it.

        Raises:
            AlreadyRunning: another host runs on the folder; the message names its process.
        """
        fd = os.open(self.home / "host.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AlreadyRunning(self._held_by(os.pread(fd, 500, 0).decode(errors="replace"))) from None
            _rewrite(fd, f"{os.getpid()} {address}\n")
            try:
                yield
            finally:
                _rewrite(fd, "")
        finally:
            os.close(fd)

    def remove_partial_writes(self) -> None:
        """Remove the files of writes that a kill interrupted. With many files it takes seconds."""
        before_s = time.time() - LONGEST_WRITE_S
        for folder in (self.files, self.mail, self.keys):
            with contextlib.suppress(OSError):  # they only take space; the next start tries again
                remove_partial(folder, before_s=before_s)

    def _held_by(self, note: str) -> str:
        pid, _, address = note.strip().partition(" ")
        process = f"process {pid}" if pid else "a process that is just starting"
        at = f" at {address}" if address else ""
        return (
            f"Another NomadCrew host ({process}{at}) is running on the data folder {self.home}; "
            "stop it first, or set NOMADCREW_HOME to another folder."
        )

    def _check_path(self) -> None:
        path = self.home
        while not _visible(path) and path != path.parent:
            path = path.parent
        if not path.is_dir():
            raise StartupError(f"{path} is a file, not a folder; set NOMADCREW_HOME to a folder.")
        if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
            raise StartupError(
                f"This user cannot read and write {path}; set NOMADCREW_HOME to a folder of your own, "
                "or start as its owner."
            )

    def _check_ours(self) -> None:
        try:
            marker: Any = json.loads(self._marker.read_bytes())
            version = int(marker["format"])
        except FileNotFoundError:
            raise StartupError(
                f"{self.home} is not empty and is not a NomadCrew data folder; "
                "set NOMADCREW_HOME to a new or empty folder."
            ) from None
        except (OSError, ValueError, TypeError, KeyError) as exc:
            raise StartupError(
                f"{self._marker} cannot be read; restore the folder from a backup, "
                "or set NOMADCREW_HOME to another one."
            ) from exc
        if version > FORMAT:
            raise StartupError(
                f"The data folder {self.home} was written by a newer NomadCrew "
                f"({marker.get('created_with', 'unknown')}); start it with that version."
            )

    def _check_postgres(self, major: int) -> None:
        if self.postgres.is_symlink():
            raise StartupError(
                f"{self.postgres} is a symbolic link; move the whole data folder and set NOMADCREW_HOME to it."
            )
        try:
            version = (self.postgres / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            return
        except OSError as exc:
            raise StartupError(
                f"{self.postgres} cannot be read ({exc.strerror}); start as the user that created it."
            ) from exc
        if version != str(major):
            raise StartupError(
                f"The data folder {self.home} belongs to PostgreSQL {version}, but this is PostgreSQL {major}; "
                "make a backup with the version that wrote it, and restore it with this one."
            )

    def _check_space(self) -> None:
        path = self.home
        while not path.exists():
            path = path.parent
        free = shutil.disk_usage(path).free
        if free < self._min_free:
            raise StartupError(
                f"The disk of {self.home} has {free // 2**20} MB free, but {self._min_free // 2**20} MB "
                "are needed; free some space, or set NOMADCREW_HOME to a folder on another disk."
            )

    def _create(self) -> None:
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        # PostgreSQL never runs as root: the user that runs it must be able to traverse the folder, and no more.
        self.home.chmod(0o711 if os.geteuid() == 0 else 0o700)
        if not self._marker.exists():
            note = {"format": FORMAT, "created_with": __version__}
            write_whole(self._marker, json.dumps(note).encode() + b"\n")
        for folder in (self.postgres, self.keys, self.files, self.mail, self.run):
            folder.mkdir(mode=0o700, exist_ok=True)


def _rewrite(fd: int, text: str) -> None:
    os.ftruncate(fd, 0)
    os.pwrite(fd, text.encode(), 0)


def _visible(path: Path) -> bool:
    try:
        path.stat()
    except OSError:
        return False
    return True
