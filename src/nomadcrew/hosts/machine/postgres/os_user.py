"""Which OS user PostgreSQL runs as: the host's own, or another one when the host is root."""

import os
import pwd
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nomadcrew.hosts.machine.errors import CannotStart

DEFAULT_USER = "nobody"


@dataclass(frozen=True, slots=True)
class Account:
    """An OS user. `switch` is true when the host has to become that user to start PostgreSQL."""

    name: str
    uid: int
    gid: int
    switch: bool

    @property
    def popen(self) -> dict[str, Any]:
        """What `subprocess.Popen` needs to run a program as this user, cut off from the host's terminal."""
        become = {"user": self.uid, "group": self.gid, "extra_groups": []} if self.switch else {}
        return {"start_new_session": True, "env": quiet_environment(), **become}

    def own(self, path: Path) -> None:
        """Give `path` to this user, when it is not theirs; what is a link is not followed.

        Raises:
            CannotStart: the file system refuses.
        """
        if path.lstat().st_uid == self.uid:
            return
        try:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)
        except OSError as exc:
            raise CannotStart(
                f"{path} cannot be given to the user {self.name} ({exc.strerror}); "
                "set NOMADCREW_HOME to a folder on a local disk."
            ) from exc

    def own_tree(self, top: Path) -> None:
        """Give a folder and all in it to this user, when the folder is not theirs (a copied data folder).

        Raises:
            CannotStart: the file system refuses.
        """
        if top.lstat().st_uid == self.uid:
            return
        for folder, _, files in os.walk(top, topdown=False):
            for name in files:
                self.own(Path(folder, name))
            self.own(Path(folder))


def account_for(data: Path, setting: str | None) -> Account:
    """The user PostgreSQL is to run as. `setting` (a name or number) counts only when the host is root.

    Without it, and when it says no more than the default, root takes the user who owns the database already: a
    folder that an ordinary user made stays that user's.

    Raises:
        CannotStart: there is no such user, or it is root.
    """
    uid = os.geteuid()
    if uid != 0:
        entry = _by_uid(uid)
        return Account(entry.pw_name, uid, os.getegid(), switch=False)
    chosen = setting if setting != DEFAULT_USER else None
    entry = _named(chosen) if chosen else _owner(data) or _named(DEFAULT_USER)
    if entry.pw_uid == 0:
        raise CannotStart("PostgreSQL refuses to run as root; name another user in NOMADCREW_POSTGRES_USER.")
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, switch=True)


def host_name() -> str:
    """The name of the user this process runs as.

    Raises:
        CannotStart: the system does not know it.
    """
    return _by_uid(os.geteuid()).pw_name


def quiet_environment() -> dict[str, str]:
    """What PostgreSQL's programs get to see: none of the host's secrets, no PG* variable, messages in English."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return {"PATH": os.defpath, **kept, "LC_ALL": "C", "TZ": "UTC"}


def _owner(data: Path) -> pwd.struct_passwd | None:
    try:
        uid = data.stat().st_uid
        return pwd.getpwuid(uid) if uid != 0 else None
    except (OSError, KeyError):
        return None


def _named(user: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
    except KeyError:
        raise CannotStart(
            f"There is no user {user} to run PostgreSQL as; name an existing one in NOMADCREW_POSTGRES_USER."
        ) from None


def _by_uid(uid: int) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        raise CannotStart(
            f"The system has no name for user {uid} and PostgreSQL needs one; add it to /etc/passwd, "
            "or start as another user."
        ) from None
