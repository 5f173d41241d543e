"""The data folder: everything one host keeps, and proof that it is the only host keeping it."""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nomadcrew import __version__
from nomadcrew.adapters.machine.disk import write_whole
from nomadcrew.hosts.machine.errors import CannotStart, HostRuns

FORMAT = 1
MIN_FREE_BYTES = 200 * 2**20

RESTORING = ".restoring-"

# What may lie in a folder that counts as empty: a fresh volume's own folder, and what a host killed in its first
# moment or in a restore was still writing.
_NOT_CONTENT = ("lost+found", ".folder.json.", RESTORING)


class DataFolder:
    """`NOMADCREW_HOME`: `folder.json`, `host.lock` and the sub-folders postgres, keys, files, mail and run."""

    def __init__(self, home: Path, *, min_free: int = MIN_FREE_BYTES) -> None:
        """`min_free` is how many bytes of disk must be free at `open`."""
        self.home = Path(os.path.realpath(home))
        self.postgres = self.home / "postgres"
        self.keys = self.home / "keys"
        self.mail = self.home / "mail"
        self.files = self.home / "files"
        self.run = self.home / "run"
        self._marker = self.home / "folder.json"
        self._min_free = min_free

    def open(self, postgres_major: int) -> None:
        """Make the folder ready for this version and this PostgreSQL, creating it on first use.

        Raises:
            CannotStart: the folder cannot be used; nothing was touched unless the disk itself failed.
        """
        self.check(postgres_major)
        try:
            self._create()
        except OSError as exc:
            raise CannotStart(
                f"The data folder {self.home} cannot be set up ({exc.strerror}); "
                "check its disk and rights, or set NOMADCREW_HOME to another folder."
            ) from exc

    def check(self, postgres_major: int) -> None:
        """Look, without touching anything, whether `open` would accept the folder.

        Raises:
            CannotStart: it would not.
        """
        self._check_place()
        try:
            if not self.is_empty():
                self.check_contents(postgres_major)
            self._check_space()
        except OSError as exc:
            raise CannotStart(
                f"The data folder {self.home} cannot be used ({exc.strerror}); set NOMADCREW_HOME to another one."
            ) from exc

    def check_contents(self, postgres_major: int) -> None:
        """Look whether this is a data folder that this version and this PostgreSQL can work with.

        Raises:
            CannotStart: it is not.
        """
        self._check_ours()
        self._check_postgres(postgres_major)

    def is_empty(self) -> bool:
        """True for a folder that does not exist yet or holds nothing."""
        try:
            return all(entry.name.startswith(_NOT_CONTENT) for entry in self.home.iterdir())
        except FileNotFoundError:
            return True

    @contextmanager
    def lock(self, address: str = "") -> Iterator[None]:
        """Be the folder's only host while the block runs; `address` tells others where this one is.

        The kernel drops the lock with the process, however it dies, and no child process inherits it.

        Raises:
            HostRuns: another host is running on the folder; the sentence names its process.
        """
        fd = os.open(self.home / "host.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise HostRuns(self._held_by(os.pread(fd, 500, 0).decode(errors="replace"))) from None
            _rewrite(fd, f"{os.getpid()} {address}\n")
            try:
                yield
            finally:
                _rewrite(fd, "")
        finally:
            os.close(fd)

    def _held_by(self, note: str) -> str:
        pid, _, address = note.strip().partition(" ")
        who = f"process {pid}" if pid else "a process that is just starting"
        where = f" at {address}" if address else ""
        return (
            f"Another NomadCrew host ({who}{where}) is running on the data folder {self.home}; "
            "stop it first, or set NOMADCREW_HOME to another folder."
        )

    def _check_place(self) -> None:
        place = self.home
        while not _visible(place) and place != place.parent:
            place = place.parent
        if not place.is_dir():
            raise CannotStart(f"{place} is a file, not a folder; set NOMADCREW_HOME to a folder.")
        if not os.access(place, os.R_OK | os.W_OK | os.X_OK):
            raise CannotStart(
                f"This user cannot read and write {place}; set NOMADCREW_HOME to a folder of your own, "
                "or start as its owner."
            )

    def _check_ours(self) -> None:
        try:
            marker: Any = json.loads(self._marker.read_bytes())
            found = int(marker["format"])
        except FileNotFoundError:
            raise CannotStart(
                f"{self.home} is not empty and no NomadCrew data folder; "
                "set NOMADCREW_HOME to a new or empty folder."
            ) from None
        except (OSError, ValueError, TypeError, KeyError) as exc:
            raise CannotStart(
                f"{self._marker} cannot be read; restore the folder from a backup, "
                "or set NOMADCREW_HOME to another one."
            ) from exc
        if found > FORMAT:
            raise CannotStart(
                f"The data folder {self.home} was written by a newer NomadCrew "
                f"({marker.get('created_with', 'unknown')}); start it with that version."
            )

    def _check_postgres(self, major: int) -> None:
        if self.postgres.is_symlink():
            raise CannotStart(
                f"{self.postgres} is a link; move the whole data folder instead and set NOMADCREW_HOME to it."
            )
        try:
            found = (self.postgres / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            return
        except OSError as exc:
            raise CannotStart(
                f"{self.postgres} cannot be read ({exc.strerror}); start as the user who created it."
            ) from exc
        if found != str(major):
            raise CannotStart(
                f"The data folder {self.home} belongs to PostgreSQL {found} and this is PostgreSQL {major}; "
                "make a backup with the version that wrote it, and restore that with this one."
            )

    def _check_space(self) -> None:
        place = self.home
        while not place.exists():
            place = place.parent
        free = shutil.disk_usage(place).free
        if free < self._min_free:
            raise CannotStart(
                f"The disk of {self.home} has {free // 2**20} MB free and {self._min_free // 2**20} MB "
                "are needed; free some space, or set NOMADCREW_HOME to a folder on another disk."
            )

    def _create(self) -> None:
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        # PostgreSQL never runs as root: the user it runs as instead must be able to pass through, and no more.
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
