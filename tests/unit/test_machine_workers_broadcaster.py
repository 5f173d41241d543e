"""Broadcasts of a worker, through the host."""

from typing import cast

from nomadcrew.adapters.postgres.presence import PostgresPresence
from nomadcrew.adapters.postgres.sql import Sql
from nomadcrew.hosts.machine.sockets.presence import HERE
from nomadcrew.hosts.machine.workers.ipc import IpcChannel
from nomadcrew.hosts.machine.workers.worker import SupervisorBroadcaster
from tests.fakes import ANA


def test_a_worker_has_listeners_while_a_user_is_online_in_any_worker() -> None:
    presence = PostgresPresence(cast(Sql, None))
    broadcaster = SupervisorBroadcaster(cast(IpcChannel, None), presence)
    assert not broadcaster.has_listeners()
    presence.open(ANA, HERE)
    assert broadcaster.has_listeners()
    presence.close(ANA, HERE)
    assert not broadcaster.has_listeners()
