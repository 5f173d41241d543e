"""The OS user that PostgreSQL runs as: the host's own, or another one if the host is root."""

import os
import pwd
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nomadcrew.hosts.machine.errors import StartupError

DEFAULT_USER = "nobody"


@dataclass(frozen=True, slots=True)
class OsUser:
    """An OS user. `switch`: the host must switch to this user to start PostgreSQL."""

    name: str
    uid: int
    gid: int
    switch: bool

    @property
    def popen(self) -> dict[str, Any]:
        """Arguments of `subprocess.Popen` to run a program as this user, detached from the host's terminal."""
        become = {"user": self.uid, "group": self.gid, "extra_groups": []} if self.switch else {}
        return {"start_new_session": True, "env": quiet_environment(), **become}

    def own(self, path: Path) -> None:
        """Change the owner of `path` to this user if it is another one; symbolic links are not followed.

        Raises:
            StartupError: the file system refuses.
        """
        if path.lstat().st_uid == self.uid:
            return
        try:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)
        except OSError as exc:
            raise StartupError(
                f"{path} cannot be given to the user {self.name} ({exc.strerror}); "
                "set NOMADCREW_HOME to a folder on a local disk."
            ) from exc

    def own_tree(self, top: Path) -> None:
        """Change the owner of a folder and its contents to this user if the folder has another one.

        A data folder that was copied has another owner.

        Raises:
            StartupError: the file system refuses.
        """
        if top.lstat().st_uid == self.uid:
            return
        for folder, _, files in os.walk(top, topdown=False):
            for name in files:
                self.own(Path(folder, name))
            self.own(Path(folder))


def os_user_for(data: Path, setting: str | None) -> OsUser:
    """The user that PostgreSQL runs as. `setting` (a name or number) is used only if the host is root.

    If it is unset or the default, root uses the owner of the existing database, so a folder that an ordinary user
    created keeps its owner.

    Raises:
        StartupError: the user does not exist, or is root.
    """
    uid = os.geteuid()
    if uid != 0:
        entry = _by_uid(uid)
        return OsUser(entry.pw_name, uid, os.getegid(), switch=False)
    chosen = setting if setting != DEFAULT_USER else None
    entry = _by_name(chosen) if chosen else _owner(data) or _by_name(DEFAULT_USER)
    if entry.pw_uid == 0:
        raise StartupError("PostgreSQL refuses to run as root; name another user in NOMADCREW_POSTGRES_USER.")
    return OsUser(entry.pw_name, entry.pw_uid, entry.pw_gid, switch=True)


def host_name() -> str:
    """The name of the user that this process runs as.

    Raises:
        StartupError: the user id has no name.
    """
    return _by_uid(os.geteuid()).pw_name


def quiet_environment() -> dict[str, str]:
    """The environment of PostgreSQL's programs: no secrets of the host, no PG* variables, messages in English."""
    inherited = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return {"PATH": os.defpath, **inherited, "LC_ALL": "C", "TZ": "UTC"}


def _owner(data: Path) -> pwd.struct_passwd | None:
    try:
        uid = data.stat().st_uid
        return pwd.getpwuid(uid) if uid != 0 else None
    except (OSError, KeyError):
        return None


def _by_name(user: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
    except KeyError:
        raise StartupError(
            f"The user {user} does not exist; name an existing user in NOMADCREW_POSTGRES_USER to run PostgreSQL."
        ) from None


def _by_uid(uid: int) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        raise StartupError(
            f"User id {uid} has no name and PostgreSQL needs one; add it to /etc/passwd, or start as another user."
        ) from None
