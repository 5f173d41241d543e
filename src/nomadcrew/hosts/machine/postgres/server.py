"""The PostgreSQL of this host, which the host creates, starts, supervises and stops.

It listens on a socket in a private folder and accepts one OS user, the host's: no password and no network.
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
from nomadcrew.hosts.machine.errors import StartupError
from nomadcrew.hosts.machine.postgres import cluster
from nomadcrew.hosts.machine.postgres.binaries import Binaries, usable_by
from nomadcrew.hosts.machine.postgres.cluster import DATABASE, PORT, ROLE, SocketFolder
from nomadcrew.hosts.machine.postgres.os_user import OsUser, os_user_for
from nomadcrew.hosts.machine.postgres.process import Postmaster, exists, is_postmaster_of, mark, read_pid_file

log = logging.getLogger("nomadcrew.postgres")

WATCH_S = 0.1
ORPHANS_S = 15.0  # how long backends of a killed postmaster may hold the shared memory
LOG_BYTES = 10 * 2**20
_BACKOFF_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_ROTATE_S = 60.0
_FULL_BYTES = 2**20
_CONNECT_S = 5.0
# asyncpg raises InternalClientError if a connection breaks at a bad moment; it has no base class with the others.
_REFUSED = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


class _Orphans(Exception):
    """Processes of an earlier PostgreSQL still hold the shared memory."""


class EmbeddedPostgres:
    """One PostgreSQL on one data folder. The caller holds the folder's lock.

    Args:
        postgres_user: the OS user that runs PostgreSQL if the host is root. Default: the owner of the database,
            else `nobody`.
        unsafe_fast: for tests only: no sync to the disk, so a crash of the machine loses data.
        start_timeout_s: how long a start may take without a sign of crash recovery, which may take longer:
            interrupting it would only make it start over.
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
        self._account: OsUser | None = None
        self._socket: SocketFolder | None = None
        self._process: Postmaster | None = None
        self._recovering = False

    @property
    def pid(self) -> int | None:
        """The process id of PostgreSQL; None before `start` and after `stop`."""
        return self._process.pid if self._process else None

    @property
    def binaries(self) -> Binaries:
        """The programs in use."""
        return self._binaries

    @property
    def connect_kwargs(self) -> dict[str, Any]:
        """Arguments for `asyncpg.connect`; available after `start` or `attach`."""
        assert self._socket is not None, "PostgreSQL has not been started"
        return {"host": str(self._socket.path), "port": PORT, "user": ROLE, "database": DATABASE}

    @property
    def dsn(self) -> str:
        """The same as a URI, for pg_dump and similar programs."""
        given = self.connect_kwargs
        return f"postgresql://{ROLE}@/{DATABASE}?host={quote(given['host'], safe='')}&port={PORT}"

    async def start(self) -> None:
        """Start PostgreSQL, with an empty database on first use, or take over one that a killed host left running.

        Raises:
            StartupError: the start failed; no process is left running.
        """
        began = time.monotonic()
        try:
            self._account = account = os_user_for(self._data, self._user)
            self._binaries = await asyncio.to_thread(usable_by, self._binaries, account)
            taken_over = await self._adopt(account)
            if not taken_over:
                await self._prepare(account)
                await self._launch(account)
        except OSError as exc:
            raise StartupError(
                f"PostgreSQL could not be started in {self._data} ({exc.strerror or exc}); "
                "check the disk and the folder's permissions."
            ) from exc
        action = "taken over from a killed host" if taken_over else "started"
        log.info("PostgreSQL %s %s in %.2f s", self._binaries.version, action, time.monotonic() - began)

    async def attach(self) -> None:
        """Use the PostgreSQL that another host runs on this folder, without supervising it.

        Raises:
            StartupError: none answers.
        """
        note = read_pid_file(self._data)
        if note is None:
            raise StartupError(f"No PostgreSQL runs on {self._data}; try again later.")
        self._socket = cluster.socket_folder_named(note.socket, self._data)
        try:
            await self._version_served()
        except (OSError, *_REFUSED) as exc:
            raise StartupError(f"The PostgreSQL on {self._data} does not answer ({exc}); try again later.") from exc

    async def supervise(self) -> None:
        """Restart PostgreSQL whenever it dies, until cancelled."""
        rotate_at = time.monotonic()
        while True:
            await asyncio.sleep(WATCH_S)
            if time.monotonic() >= rotate_at:
                rotate_at = time.monotonic() + _ROTATE_S
                self._rotate_log()
            if self._process and not self._process.alive():
                log.warning("PostgreSQL ended (exit code %s), restarting", self._process.exit_code)
                await self._restart()

    async def stop(self) -> None:
        """Stop PostgreSQL, by force if it does not stop in time; do nothing if it does not run."""
        process, self._process = self._process, None
        if process is None:
            return
        began = time.monotonic()
        await process.stop()
        if self._socket and self._socket.path != self._folder.run:
            shutil.rmtree(self._socket.path, ignore_errors=True)
        log.info("PostgreSQL stopped in %.2f s", time.monotonic() - began)

    async def _adopt(self, account: OsUser) -> bool:
        """Take over a PostgreSQL that runs on the data, if its version and settings match; else stop it."""
        self._socket = cluster.socket_folder(self._folder, account)
        note = read_pid_file(self._data)
        if note is None or not is_postmaster_of(note.pid, self._data):
            return False
        survivor = Postmaster(note.pid, self._data)
        if self._data.stat().st_uid == account.uid and await self._serves_the_same(note.socket):
            self._process = survivor
            return True
        log.warning("stopping the PostgreSQL of an earlier host (process %s)", survivor.pid)
        await survivor.stop()
        return False

    async def _prepare(self, account: OsUser) -> None:
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
        """True if the PostgreSQL on `socket` answers and has this version and these settings."""
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
            except (StartupError, OSError) as exc:
                attempt += 1
                log.error("PostgreSQL is still down: %s", exc)  # noqa: TRY400
                continue
            log.warning("PostgreSQL is back after %.2f s", time.monotonic() - began)
            return

    async def _launch(self, account: OsUser) -> None:
        deadline = time.monotonic() + ORPHANS_S
        while True:
            self._remove_stale_pid_file()
            self._rotate_log()
            log_from = self._log_size()
            child = self._spawn(account)
            self._process = Postmaster(child.pid, self._data, child)
            try:
                await self._wait_until_ready(log_from)
            except _Orphans:
                if time.monotonic() < deadline:
                    await asyncio.sleep(0.2)
                    continue
                raise StartupError(self._failure(log_from)) from None
            return

    def _spawn(self, account: OsUser) -> "subprocess.Popen[bytes]":
        data = cluster.data_argument(self._data, account, self._binaries.major)
        command = [str(self._binaries.postgres), "-D", data, "-c", mark(self._data)]
        fd = os.open(self._log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            return subprocess.Popen(  # noqa: S603
                command, cwd=self._data, stdin=subprocess.DEVNULL, stdout=fd, stderr=fd, **account.popen
            )
        finally:
            os.close(fd)

    async def _wait_until_ready(self, log_from: int) -> None:
        """Wait until PostgreSQL answers and its database exists.

        Raises:
            _Orphans: it can start once the processes of an earlier one have ended.
            StartupError: the start failed, and the process was stopped.
        """
        assert self._process is not None
        try:
            await self._wait_for_answer(self._process, log_from)
        except BaseException:
            await asyncio.shield(self._process.stop(fast_s=1))
            raise

    async def _wait_for_answer(self, process: Postmaster, log_from: int) -> None:
        deadline = time.monotonic() + self._start_timeout_s
        while not await self._answers():
            if not process.alive():
                reason = self._failure(log_from)
                raise _Orphans if "shared memory block" in reason else StartupError(reason)
            if self._recovering:
                deadline = time.monotonic() + self._start_timeout_s
            elif time.monotonic() > deadline:
                raise StartupError(
                    f"PostgreSQL was not ready within {self._start_timeout_s:.0f} s; "
                    f"check {self._log_file} and start again."
                )
            await asyncio.sleep(0.02)

    async def _answers(self) -> bool:
        self._recovering = False
        try:
            await self._version_served()
        except asyncpg.TooManyConnectionsError:
            return True  # after a restart the pool may have taken all connections before this check
        except asyncpg.CannotConnectNowError:
            self._recovering = True
            return False
        except (OSError, asyncpg.PostgresConnectionError, asyncpg.InternalClientError):
            return False
        except _REFUSED as exc:
            raise StartupError(f"PostgreSQL runs but refuses this host ({exc}); check {self._log_file}.") from exc
        return True

    async def _version_served(self) -> str:
        """Connect, create the database if it is missing, and return the server's version, such as 18.6."""
        address = {**self.connect_kwargs, "database": "postgres"}
        connection = await asyncpg.connect(**address, timeout=_CONNECT_S, command_timeout=30)
        try:
            if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", DATABASE):
                await connection.execute(f"CREATE DATABASE {DATABASE} TEMPLATE template0")
            return str(await connection.fetchval("SHOW server_version")).split(" ")[0]
        finally:
            await connection.close(timeout=_CONNECT_S)

    def _remove_stale_pid_file(self) -> None:
        """Remove the PID file of a PostgreSQL that has ended, if another process has its id now.

        PostgreSQL ignores the id of a dead process, but takes any living process of its user for another
        postmaster.
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
        """Copy a full log to `.log.1` and truncate it: PostgreSQL keeps the file open, so it cannot be renamed."""
        if self._log_size() > LOG_BYTES:
            with contextlib.suppress(OSError):  # a full disk must not stop the supervision
                shutil.copy(self._log_file, self._log_file.with_suffix(".log.1"))
            os.truncate(self._log_file, 0)

    def _failure(self, log_from: int) -> str:
        with self._log_file.open("rb") as file:
            file.seek(log_from)
            output = file.read(LOG_BYTES).decode(errors="replace")
        if shutil.disk_usage(self._data).free < _FULL_BYTES:
            output += cluster.DISK_FULL  # background processes report it as an ERROR, which is not logged
        return cluster.failure(f"PostgreSQL did not start (its log is {self._log_file})", output)
