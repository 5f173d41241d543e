"""PostgreSQL under this host: created, started, watched and stopped by it.

It listens on a socket in a private folder and knows one OS user, the host's: there is no password and no network.
"""

import asyncio
import contextlib
import logging
import os
import shutil
import subprocess
import time
from typing import Any
from urllib.parse import quote

import asyncpg

from nomadcrew.hosts.machine.data_folder import DataFolder
from nomadcrew.hosts.machine.errors import CannotStart
from nomadcrew.hosts.machine.postgres import cluster
from nomadcrew.hosts.machine.postgres.binaries import Binaries, usable_by
from nomadcrew.hosts.machine.postgres.cluster import DATABASE, PORT, ROLE, SocketFolder
from nomadcrew.hosts.machine.postgres.os_user import Account, account_for
from nomadcrew.hosts.machine.postgres.process import Postmaster, exists, is_postmaster_of, mark, read_pid_file

log = logging.getLogger("nomadcrew.postgres")

WATCH_S = 0.1
ORPHANS_S = 15.0  # how long backends whose postmaster was killed may hold on to the shared memory
LOG_BYTES = 10 * 2**20
_BACKOFF_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_ROTATE_S = 60.0
_FULL_BYTES = 2**20
_CONNECT_S = 5.0
# The last is what asyncpg raises when a connection breaks at an awkward moment; it shares no base with the others.
_REFUSED = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


class _Orphans(Exception):
    """Processes of an earlier PostgreSQL still hold its shared memory."""


class EmbeddedPostgres:
    """One PostgreSQL on one data folder. The caller holds the folder's lock.

    Args:
        postgres_user: the OS user PostgreSQL runs as when the host is root; without it, the user who owns the
            database, else `nobody`.
        unsafe_fast: for tests only. Nothing waits for the disk, and a crash of the machine loses data.
        start_timeout_s: how long PostgreSQL may be silent at a start. Crash recovery may take longer: cutting it
            short would only make it begin again.
    """

    def __init__(
        self,
        folder: DataFolder,
        binaries: Binaries,
        *,
        postgres_user: str | None = None,
        unsafe_fast: bool = False,
        start_timeout_s: float = 60.0,
    ) -> None:
        self._folder = folder
        self._data = folder.postgres
        self._binaries = binaries
        self._user = postgres_user
        self._unsafe_fast = unsafe_fast
        self._start_timeout_s = start_timeout_s
        self._log_file = folder.home / "postgres.log"
        self._account: Account | None = None
        self._socket: SocketFolder | None = None
        self._process: Postmaster | None = None
        self._recovering = False

    @property
    def pid(self) -> int | None:
        """PostgreSQL's main process; None before `start` and after `stop`."""
        return self._process.pid if self._process else None

    @property
    def binaries(self) -> Binaries:
        """The programs it runs."""
        return self._binaries

    @property
    def connect_kwargs(self) -> dict[str, Any]:
        """Arguments for `asyncpg.connect`. Known once `start` or `attach` has returned."""
        assert self._socket is not None, "PostgreSQL has not been started"
        return {"host": str(self._socket.path), "port": PORT, "user": ROLE, "database": DATABASE}

    @property
    def dsn(self) -> str:
        """The same as a URI, for pg_dump and its like."""
        given = self.connect_kwargs
        return f"postgresql://{ROLE}@/{DATABASE}?host={quote(given['host'], safe='')}&port={PORT}"

    async def start(self) -> None:
        """Bring PostgreSQL up with an empty database on first use, or take over one that a killed host left.

        Raises:
            CannotStart: it did not come up; nothing of it is left running.
        """
        began = time.monotonic()
        try:
            self._account = account = account_for(self._data, self._user)
            self._binaries = await asyncio.to_thread(usable_by, self._binaries, account)
            taken_over = await self._adopt(account)
            if not taken_over:
                await self._prepare(account)
                await self._launch(account)
        except OSError as exc:
            raise CannotStart(
                f"PostgreSQL could not be started in {self._data} ({exc.strerror or exc}); "
                "check the disk and the folder's rights."
            ) from exc
        how = "taken over from a host that was killed" if taken_over else "started"
        log.info("PostgreSQL %s %s in %.2f s", self._binaries.version, how, time.monotonic() - began)

    async def attach(self) -> None:
        """Use the PostgreSQL that another host runs on this folder, without watching or stopping it.

        Raises:
            CannotStart: none answers.
        """
        note = read_pid_file(self._data)
        if note is None:
            raise CannotStart(f"No PostgreSQL runs on {self._data}; try again in a moment.")
        self._socket = cluster.socket_folder_named(note.socket, self._data)
        try:
            await self._version_served()
        except (OSError, *_REFUSED) as exc:
            raise CannotStart(
                f"The PostgreSQL on {self._data} does not answer ({exc}); try again in a moment."
            ) from exc

    async def supervise(self) -> None:
        """Watch PostgreSQL until cancelled: one that dies is started again, however often that takes."""
        rotate_at = time.monotonic()
        while True:
            await asyncio.sleep(WATCH_S)
            if time.monotonic() >= rotate_at:
                rotate_at = time.monotonic() + _ROTATE_S
                self._rotate_log()
            if self._process and not self._process.alive():
                log.warning("PostgreSQL ended by itself (exit code %s), starting it again", self._process.exit_code)
                await self._restart()

    async def stop(self) -> None:
        """Stop PostgreSQL in good order, by force if it will not; without one running, do nothing."""
        process, self._process = self._process, None
        if process is None:
            return
        began = time.monotonic()
        await process.stop()
        if self._socket and self._socket.path != self._folder.run:
            shutil.rmtree(self._socket.path, ignore_errors=True)
        log.info("PostgreSQL stopped in %.2f s", time.monotonic() - began)

    async def _adopt(self, account: Account) -> bool:
        """Take over a PostgreSQL that runs on the data already, if it is what would be started; else stop it."""
        self._socket = cluster.socket_folder(self._folder, account)
        note = read_pid_file(self._data)
        if note is None or not is_postmaster_of(note.pid, self._data):
            return False
        survivor = Postmaster(note.pid, self._data)
        if self._data.stat().st_uid == account.uid and await self._serves_the_same(note.socket):
            self._process = survivor
            return True
        log.warning("stopping the PostgreSQL that an earlier host left (process %s)", survivor.pid)
        await survivor.stop()
        return False

    async def _prepare(self, account: Account) -> None:
        cluster.remove_unfinished(self._folder)
        if not (self._data / "PG_VERSION").exists():
            began = time.monotonic()
            await asyncio.to_thread(
                cluster.create_cluster, self._folder, self._binaries, account, sync=not self._unsafe_fast
            )
            log.info("PostgreSQL %s initialised in %.2f s", self._binaries.version, time.monotonic() - began)
        account.own_tree(self._data)
        cluster.write_settings(self._data, account, self._settings())

    def _settings(self) -> str:
        assert self._socket is not None
        return cluster.settings_text(self._socket, unsafe_fast=self._unsafe_fast)

    async def _serves_the_same(self, socket: str) -> bool:
        """Whether a survivor on `socket` answers, with this version and these settings."""
        assert self._socket is not None
        try:
            if socket != self._socket.setting or (self._data / cluster.CONF).read_text() != self._settings():
                return False
            return await self._version_served() == self._binaries.version
        except (OSError, *_REFUSED):
            return False

    async def _restart(self) -> None:
        assert self._account is not None
        attempt = 0
        while True:
            await asyncio.sleep(_BACKOFF_S[min(attempt, len(_BACKOFF_S) - 1)])
            began = time.monotonic()
            try:
                await self._launch(self._account)
            except (CannotStart, OSError) as exc:
                attempt += 1
                log.error("PostgreSQL is still down: %s", exc)  # noqa: TRY400
                continue
            log.warning("PostgreSQL is back after %.2f s", time.monotonic() - began)
            return

    async def _launch(self, account: Account) -> None:
        deadline = time.monotonic() + ORPHANS_S
        while True:
            self._forget_dead()
            self._rotate_log()
            log_from = self._log_size()
            child = self._spawn(account)
            self._process = Postmaster(child.pid, self._data, child)
            try:
                await self._ready(log_from)
            except _Orphans:
                if time.monotonic() < deadline:
                    await asyncio.sleep(0.2)
                    continue
                raise CannotStart(self._why(log_from)) from None
            return

    def _spawn(self, account: Account) -> "subprocess.Popen[bytes]":
        data = cluster.data_argument(self._data, account, self._binaries.major)
        command = [str(self._binaries.postgres), "-D", data, "-c", mark(self._data)]
        fd = os.open(self._log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            return subprocess.Popen(  # noqa: S603
                command, cwd=self._data, stdin=subprocess.DEVNULL, stdout=fd, stderr=fd, **account.popen
            )
        finally:
            os.close(fd)

    async def _ready(self, log_from: int) -> None:
        """Wait until PostgreSQL answers and its database is there.

        Raises:
            _Orphans: it will start once the processes of an earlier one have ended.
            CannotStart: it did not come up, and was stopped.
        """
        assert self._process is not None
        try:
            await self._answer(self._process, log_from)
        except BaseException:
            await asyncio.shield(self._process.stop(fast_s=1))
            raise

    async def _answer(self, process: Postmaster, log_from: int) -> None:
        deadline = time.monotonic() + self._start_timeout_s
        while not await self._answers():
            if not process.alive():
                why = self._why(log_from)
                raise _Orphans if "shared memory block" in why else CannotStart(why)
            if self._recovering:
                deadline = time.monotonic() + self._start_timeout_s
            elif time.monotonic() > deadline:
                raise CannotStart(
                    f"PostgreSQL did not get ready within {self._start_timeout_s:.0f} s; "
                    f"look into {self._log_file} and start again."
                )
            await asyncio.sleep(0.02)

    async def _answers(self) -> bool:
        self._recovering = False
        try:
            await self._version_served()
        except asyncpg.TooManyConnectionsError:
            return True  # after a restart the pool may be faster than this check
        except asyncpg.CannotConnectNowError:
            self._recovering = True
            return False
        except (OSError, asyncpg.PostgresConnectionError, asyncpg.InternalClientError):
            return False
        except _REFUSED as exc:
            raise CannotStart(
                f"PostgreSQL runs but does not serve this host ({exc}); look into {self._log_file}."
            ) from exc
        return True

    async def _version_served(self) -> str:
        """Connect, create the database if it is missing, and return the server's version, such as 18.6."""
        where = {**self.connect_kwargs, "database": "postgres"}
        connection = await asyncpg.connect(**where, timeout=_CONNECT_S, command_timeout=30)
        try:
            if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", DATABASE):
                await connection.execute(f"CREATE DATABASE {DATABASE} TEMPLATE template0")
            return str(await connection.fetchval("SHOW server_version")).split(" ")[0]
        finally:
            await connection.close(timeout=_CONNECT_S)

    def _forget_dead(self) -> None:
        """Remove the note of a PostgreSQL that has ended, if another process has its number now.

        PostgreSQL itself sees through a number nobody has, but takes any living process of its user for its double.
        """
        note = read_pid_file(self._data)
        if note and (not exists(note.pid) or is_postmaster_of(note.pid, self._data)):
            return
        assert self._socket is not None
        for stale in (self._data / "postmaster.pid", self._socket.path / f"{cluster.SOCKET}.lock"):
            stale.unlink(missing_ok=True)

    def _log_size(self) -> int:
        return self._log_file.stat().st_size if self._log_file.exists() else 0

    def _rotate_log(self) -> None:
        """Keep one old log. PostgreSQL holds the file open and appends, so it is emptied and not replaced."""
        if self._log_size() > LOG_BYTES:
            with contextlib.suppress(OSError):  # a full disk must not end the watch
                shutil.copy(self._log_file, self._log_file.with_suffix(".log.1"))
            os.truncate(self._log_file, 0)

    def _why(self, log_from: int) -> str:
        with self._log_file.open("rb") as file:
            file.seek(log_from)
            said = file.read(LOG_BYTES).decode(errors="replace")
        if shutil.disk_usage(self._data).free < _FULL_BYTES:
            said += cluster.DISK_FULL  # which processes of PostgreSQL's own report as an ERROR, kept from the log
        return cluster.failure(f"PostgreSQL did not start (its log is {self._log_file})", said)
