"""`nomadcrew trip` on a running server and on a stopped one."""

from pathlib import Path

import pytest

from tests.archives import TRIP, comparable, content, zipped
from tests.e2e.conftest import Register
from tests.e2e.server import Server
from tests.e2e.test_archives import a_trip
from tests.e2e.test_cli import run

pytestmark = pytest.mark.one_machine("commands work on this machine's data folder")


async def test_a_trip_is_exported_and_imported_by_command(
    server: Server, register: Register, tmp_path: Path
) -> None:
    ana, ben = await register("ana"), await register("ben")
    trip = await a_trip(ana, ben)
    file = tmp_path / "porto.zip"
    written = run("trip", "export", trip, str(file), "--user", ana.username, home=server.home)
    assert f"Wrote {file} (" in written.success
    assert [path.name for path in tmp_path.iterdir()] == ["porto.zip"]
    imported = run("trip", "import", str(file), "--user", ana.email, home=server.home).success
    copy = imported.split()[-1].rstrip(".")
    again = await ana.send("GET", f"/v1/trips/{copy}/export")
    assert comparable(content(again.content)) == comparable(content(file.read_bytes()))
    assert run("trip", "import", str(file), "--user", ana.username, home=server.home).success == imported
    small = run("trip", "export", trip, str(file), "--user", ben.username, "--no-files", home=server.home)
    assert "KiB" in small.success
    other = run("trip", "import", str(file), "--user", ana.username, home=server.home).success
    assert "2 files are not in the archive." in other


async def test_a_mistake_is_one_sentence(server: Server, register: Register, tmp_path: Path) -> None:
    ana, eve = await register("ana"), await register("eve")
    trip, file = await ana.new_trip(), tmp_path / "trip.zip"
    words = ("trip", "export", trip, str(file), "--user")
    assert "No account has the address" in run(*words, "nobody", home=server.home).sentence
    assert "not a member of this trip" in run(*words, eve.username, home=server.home).sentence
    assert not list(tmp_path.iterdir())
    file.write_bytes(b"not a zip")
    words = ("trip", "import", str(file), "--user", ana.username)
    assert "not an archive of a trip" in run(*words, home=server.home).sentence
    file.write_bytes(zipped({**TRIP, "version": 9}))
    assert "a later version" in run(*words, home=server.home).sentence
    file.unlink()
    assert "cannot be used" in run(*words, home=server.home).sentence
