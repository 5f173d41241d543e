"""The command line: an error is one sentence and changes nothing; every other command does its work."""

import asyncio
import json
import os
import pty
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import click
import pytest

from nomadcrew.adapters.postgres.sql import compile_statement
from nomadcrew.api.consumers import CONSUMERS
from nomadcrew.api.table import ALL_ROUTES
from nomadcrew.cli import nomadcrew
from nomadcrew.cli.context import pool_on
from nomadcrew.hosts.machine.data_folder import DataFolder
from nomadcrew.settings import Settings
from tests.e2e.client import NEW_TRIP, PASSWORD, Api, User, eventually
from tests.e2e.conftest import Register
from tests.e2e.server import Server
from tests.sample_files import JPEG_OF_A_PHONE

pytestmark = pytest.mark.one_machine("commands work on this machine's data folder")

ROOT = Path(__file__).parents[2]
PROGRAM = Path(sys.executable).with_name("nomadcrew")
AS_ROOT = os.geteuid() == 0
WITHIN_S = 30


@dataclass(frozen=True, slots=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The one sentence of an error."""
        assert self.code == 1, self
        assert re.fullmatch(r"nomadcrew: [^\n]+[.?]\n", self.err), self
        return self.err.removeprefix("nomadcrew: ").strip()

    @property
    def success(self) -> str:
        """The output of a successful command."""
        assert (self.code, self.err) == (0, ""), self
        return self.out


def environment(home: Path, **settings: str) -> dict[str, str]:
    foreign = {k: v for k, v in os.environ.items() if not re.match(r"NOMADCREW_|HOST$|PORT$|LOG_LEVEL$", k)}
    return {**foreign, "NOMADCREW_HOME": str(home), "HOST": "127.0.0.1", "PORT": "0", **settings}


def run(*words: str, home: Path, **settings: str) -> Outcome:
    # At level info the log lines of a start would precede the sentence.
    done = subprocess.run(
        [str(PROGRAM), *words],
        env=environment(home, LOG_LEVEL="warning") | settings,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def contents(folder: Path) -> Mapping[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A data folder that does not exist yet."""
    return tmp_path / "home"


@pytest.fixture(scope="module")
def archive(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of the running server."""
    file = tmp_path_factory.mktemp("backup") / "nomadcrew.tar"
    assert f"Done: {file}" in run("backup", str(file), home=server.home).success
    return file


@pytest.mark.parametrize(
    ("variable", "text", "said"),
    [
        ("NOMADCREW_HOEM", "x", "did you mean NOMADCREW_HOME?"),
        ("PORT", "eighty", "PORT must be a port"),
        ("HOST", "203.0.113.1", "set HOST to an address of this machine"),
        ("NOMADCREW_PUBLIC_URL", "trips.example.org", "such as https://trips.example.org"),
        ("NOMADCREW_RATE_LIMITS", "sign_in=often", "use bucket=count/seconds"),
        ("NOMADCREW_POSTGRES_BIN", "/nope", "set it to a folder with PostgreSQL's programs"),
    ],
)
def test_an_invalid_setting_stops_the_start(home: Path, variable: str, text: str, said: str) -> None:
    assert said in run("up", home=home, **{variable: text}).sentence
    assert not home.exists()


def test_a_port_in_use_stops_the_start(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = run("up", home=home, PORT=port)
    assert f"127.0.0.1:{port}" in refused.sentence
    assert "choose another port with PORT" in refused.sentence
    assert not home.exists()


async def test_a_second_server_on_a_folder_names_the_first_and_does_not_disturb_it(
    server: Server, api: Api
) -> None:
    refused = run("up", home=server.home)
    assert f"at {server.url}" in refused.sentence
    assert "stop it first, or set NOMADCREW_HOME" in refused.sentence
    assert (await api.send("GET", "/health/readiness")).status_code == 200


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("thesis.txt", "years of work", "is not empty and is not a NomadCrew data folder"),
        (
            "folder.json",
            '{"format": 2, "created_with": "7.0"}',
            "newer NomadCrew (7.0); start it with that",
        ),
    ],
)
@pytest.mark.parametrize("words", [("up",), ("user", "list"), ("doctor",)], ids=" ".join)
def test_a_foreign_folder_is_refused_unchanged(
    home: Path, name: str, text: str, said: str, words: tuple[str, ...]
) -> None:
    home.mkdir()
    (home / name).write_text(text)
    before = contents(home)
    refused = run(*words, home=home)
    assert said in (refused.out if words == ("doctor",) else refused.sentence)
    assert refused.code == 1
    assert contents(home) == before


@pytest.mark.parametrize("words", [("up",), ("user", "list")], ids=" ".join)
def test_a_file_in_place_of_the_folder_is_refused_unchanged(home: Path, words: tuple[str, ...]) -> None:
    home.write_text("hello")
    assert "is a file, not a folder; set NOMADCREW_HOME to a folder" in run(*words, home=home).sentence
    assert home.read_text() == "hello"


@pytest.mark.skipif(AS_ROOT, reason="root may read everything")
@pytest.mark.parametrize("words", [("up",), ("user", "list"), ("backup", "x.tar")], ids=" ".join)
def test_an_unreadable_folder_is_refused(home: Path, words: tuple[str, ...]) -> None:
    home.mkdir(mode=0)
    assert str(home) in run(*words, home=home).sentence
    home.chmod(0o700)


@pytest.mark.skipif(not AS_ROOT or not shutil.which("unshare"), reason="needs the right to mount")
def test_a_full_disk_stops_the_start(tmp_path: Path) -> None:
    mount = 'mount -t tmpfs -o size=64m none "$1" || exit 77; "$2" up; code=$?; ls -A "$1"; exit $code'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", mount, "sh", str(tmp_path), str(PROGRAM)],
        env=environment(tmp_path / "home"), capture_output=True, text=True, timeout=WITHIN_S,
    )  # fmt: skip
    if done.returncode == 77:
        pytest.skip("root may not mount here")
    refused = Outcome(done.returncode, done.stdout, done.stderr)
    assert "free some space, or set NOMADCREW_HOME to a folder on another disk" in refused.sentence
    assert refused.out.count("\n") == 1, "nothing was left on the disk"


def test_a_damaged_key_is_named_and_no_process_stays(home: Path) -> None:
    folder = DataFolder(home)
    folder.open(18)
    (folder.keys / "signing-0001.pem").write_text("garbage")
    said = "signing-0001.pem has no valid signing key; restore it"
    doctor, up = run("doctor", home=home), run("up", home=home)
    assert said in up.sentence
    assert re.search(f"FAIL  keys: .*{said}", doctor.out)
    assert "see the lines marked FAIL" in doctor.sentence
    assert (folder.keys / "signing-0001.pem").read_text() == "garbage"
    assert not (folder.postgres / "postmaster.pid").exists()


@pytest.mark.parametrize(
    "words", [("user", "list"), ("queue", "list"), ("migrate",), ("backup", "x.tar")], ids=" ".join
)
def test_a_command_without_a_data_folder_says_how_to_create_one(home: Path, words: tuple[str, ...]) -> None:
    assert "start the server once with `nomadcrew up`" in run(*words, home=home).sentence
    assert not home.exists()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=lambda how: how.name)
def test_an_interrupted_first_start_can_be_repeated(home: Path, how: signal.Signals) -> None:
    for sign in (home / "host.lock", home / "keys" / "confirmations.key"):
        with subprocess.Popen(
            [str(PROGRAM), "up"], env=environment(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as host:
            deadline_s = time.monotonic() + WITHIN_S
            while not sign.exists() and host.poll() is None and time.monotonic() < deadline_s:
                time.sleep(0.01)
            host.send_signal(how)
            out, err = host.communicate(timeout=WITHIN_S)
        assert (host.returncode, out.splitlines()[-1]) == (0, "Stopped."), err
        assert "Traceback" not in err
        assert not (home / "postgres" / "postmaster.pid").exists()


def test_demo_needs_a_server(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    refused = run("demo", "--url", url, home=home).sentence
    assert f"No NomadCrew server answers at {url}; start one with `nomadcrew up`" in refused
    assert "must start with http:// or https://" in run("demo", "--url", "localhost", home=home).sentence


async def test_demo_fills_a_server_and_prints_working_credentials(server: Server, api: Api) -> None:
    said = run("demo", "--url", server.url, home=server.home).success
    [body] = re.findall(r"-d '(\{.*\})'", said)
    reply = await api.send("POST", "/v1/auth/login", json=json.loads(body))
    assert reply.status_code == 200
    trips = await User.of(api, reply.json()).ask("GET", "/v1/trips")
    assert {trip["destinationName"] for trip in trips} == {"Lisbon", "Kyoto", "Cusco"}
    assert {trip["participantCount"] for trip in trips} == {5}
    assert all(trip["id"] in said for trip in trips)


async def test_a_live_demo_can_be_watched_from_another_terminal(server: Server) -> None:
    demo = subprocess.Popen(
        [str(PROGRAM), "demo", "--live", "--speed", "100", "--url", server.url],
        env=environment(server.home, LOG_LEVEL="warning", PYTHONUNBUFFERED="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        assert demo.stdout is not None
        command = next(line for line in demo.stdout if "nomadcrew watch" in line).split()[1:]
        assert command[-2:] == ["--url", server.url]

        async def met() -> bool:
            shown = await asyncio.to_thread(run, *command, "--once", home=server.home, COLUMNS="100")
            walking = re.findall(r"^\S+ +41\.1\d+ -8\.[56]\d+ .* online ", shown.success, re.MULTILINE)
            return len(walking) == 5 and "meeting at Jardim do Morro" in shown.success

        await eventually(met)
        frames = await asyncio.to_thread(_terminal, [str(PROGRAM), *command], server.home, "\x1b[H\x1b[J")
        assert "Jardim do Morro" in frames
    finally:
        demo.send_signal(signal.SIGINT)
        said = demo.communicate(timeout=WITHIN_S)[0]
    assert demo.returncode in (0, 130), said
    assert "Traceback" not in said


def _terminal(command: list[str], home: Path, awaited: str) -> str:
    """The terminal output of a command until a text appears twice; Ctrl-C ends the command."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command, env=environment(home, TERM="xterm"), stdin=theirs, stdout=theirs, stderr=theirs,
        start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    drawn, deadline_s = "", time.monotonic() + WITHIN_S
    while drawn.count(awaited) < 2 and time.monotonic() < deadline_s:
        drawn += os.read(ours, 65_536).decode(errors="replace")
    process.send_signal(signal.SIGINT)
    with suppress(OSError):  # reading fails once the process has ended
        while part := os.read(ours, 65_536):
            drawn += part.decode(errors="replace")
    os.close(ours)
    assert process.wait(WITHIN_S) == 0, drawn
    assert drawn.count(awaited) >= 2, drawn
    return drawn


async def test_watch_needs_a_member(server: Server, api: Api) -> None:
    ana, eve = await api.register("ana"), await api.register("eve")
    trip_id = await ana.new_trip()
    words = ("watch", trip_id, "--url", server.url, "--once")
    shown = run(*words, "--user", ana.username, "--password", PASSWORD, home=server.home).success
    assert "Ana" in shown
    refused = run(*words, "--user", eve.username, "--password", PASSWORD, home=server.home).sentence
    assert "the server answered 403" in refused
    assert "401" in run(*words, "--user", ana.username, "--password", "Not-this-one-7", home=server.home).sentence


async def test_accounts_are_managed_beside_a_running_server(server: Server, api: Api) -> None:
    home, name = server.home, f"zoe-{secrets.token_hex(4)}"
    address = f"{name}@example.org"
    created = run("user", "create", address, "--username", name, home=home).success
    assert created.startswith(f"Created {name} ({address}).\nPassword: ")
    password = created.split()[-1]
    signed_in = await api.send("POST", "/v1/auth/login", json={"username": name, "password": password})
    assert signed_in.status_code == 200

    assert f"reset-password {address}" in run("user", "create", address, home=home).sentence
    weak = run("user", "create", f"x{address}", "--password", "weak", home=home).sentence
    assert "needs at least 8 characters" in weak
    assert "Not a valid email address" in run("user", "create", "zoe", home=home).sentence
    for command in ("reset-password", "remove-totp", "grant-admin", "delete"):
        options = ["--yes"] if command == "delete" else []
        refused = run("user", command, "nobody", *options, home=home).sentence
        assert "`nomadcrew user list` lists the accounts" in refused

    assert f"{name} is a system administrator" in run("user", "grant-admin", name, home=home).success
    assert f"Sign-ins of {name} need no code" in run("user", "remove-totp", address, home=home).success
    [line] = [line for line in run("user", "list", home=home).success.splitlines() if address in line]
    assert line.endswith("  admin")
    changed = run("user", "reset-password", address, home=home).success
    old = await api.send("POST", "/v1/auth/login", json={"username": name, "password": password})
    new = await api.send("POST", "/v1/auth/login", json={"username": name, "password": changed.split()[-1]})
    assert (old.status_code, new.status_code) == (401, 200)

    deleted = run("user", "delete", name, "--yes", home=home).success
    assert "1  profiles" in deleted
    assert "Receipt: " in deleted
    gone = await api.send("POST", "/v1/auth/login", json={"username": name, "password": changed.split()[-1]})
    assert gone.status_code == 401


def test_scheduled_jobs_are_listed_and_run_beside_a_running_server(server: Server) -> None:
    assert run("jobs", "run", "old-feedback", home=server.home).success == "old-feedback: 0 done.\n"
    lines = {line.split()[0]: line for line in run("jobs", home=server.home).success.splitlines()}
    assert {"expired-sharing", "old-events", "old-files"} < lines.keys()
    assert re.search(r"every 1 d +last 20.* UTC, 0 done, next 20.* UTC$", lines["old-feedback"])


def test_redrive_reports_that_a_queue_has_no_dead_jobs(server: Server) -> None:
    job = "019aab33-5c4f-7a3e-8000-2f6d1c9b4a10"
    for queue in CONSUMERS:
        assert f"The queue {queue} has no dead job" in run("queue", "redrive", queue, home=server.home).sentence
    assert f"no dead job {job};" in run("queue", "redrive", "email", "--job", job, home=server.home).sentence
    unknown = run("queue", "redrive", "emails", home=server.home)
    assert (unknown.code, "'emails' is not one of '" in unknown.err) == (2, True)
    run("queue", "list", home=server.home).success  # noqa: B018 — asserts


@pytest.mark.parametrize("option", [("--limit", "0"), ("--offset", "-1"), ("--limit", "9" * 20)], ids=" ".join)
def test_a_number_out_of_range_is_refused_without_a_query(home: Path, option: tuple[str, str]) -> None:
    refused = run("user", "list", *option, home=home)
    assert (refused.code, "is not in the range" in refused.err) == (2, True)


def test_doctor_reports_a_running_server(server: Server) -> None:
    said = run("doctor", home=server.home).success
    assert re.search(rf"a server runs on it \(process \d+ at {server.url}\)", said)
    assert "FAIL" not in said


def test_a_deep_doctor_counts_again_and_corrects_what_was_off(server: Server) -> None:
    assert "all counts and limits agree" in run("doctor", "--deep", home=server.home).success
    trip_id = uuid4()
    asyncio.run(
        run_sql(
            server.home,
            """INSERT INTO trips (id, name, destination_latitude, destination_longitude, start_date, end_date,
                                  status, created_at, updated_at, deleted_at, member_count)
               VALUES (:id::uuid, 'Porto', 41, -8, '2026-12-01', '2026-12-09', 'PLANNING', now(), now(), now(),
                       7)""",
            id=trip_id,
        )
    )
    off = run("doctor", "--deep", home=server.home)
    assert f"FAIL  member_count of {trip_id}: 7 stored, 0 counted" in off.out
    assert "The data disagrees with itself" in off.sentence
    corrected = run("doctor", "--deep", "--repair", home=server.home).success
    assert "corrected the number of members of 1 trips" in corrected
    assert "FAIL" not in run("doctor", "--deep", home=server.home).success
    assert run("doctor", "--repair", home=server.home).code == 2


async def run_sql(home: Path, text: str, **params: object) -> None:
    """Run a statement in the database of a running server."""
    async with pool_on(Settings.read({"NOMADCREW_HOME": str(home)}), DataFolder(home)) as pool:
        await pool.fetch(compile_statement("test", text), **params)


def test_doctor_on_a_new_machine_creates_nothing(home: Path) -> None:
    said = run("doctor", home=home).success
    assert f"{home}, will be created" in said
    assert "is free" in said
    assert not home.exists()


def test_neither_backup_nor_restore_overwrites_data(server: Server, archive: Path, home: Path) -> None:
    before = archive.read_bytes()
    assert "already exists; choose another file" in run("backup", str(archive), home=server.home).sentence
    assert archive.read_bytes() == before
    into_use = run("restore", str(archive), home=server.home).sentence
    assert "is not empty; set NOMADCREW_HOME to a new or empty folder" in into_use
    for missing, why in ((home, "No such file"), (archive.parent, "Is a directory")):
        assert why in run("restore", str(missing), home=home).sentence
    assert not home.exists()


def test_a_drill_counts_a_backup_beside_the_running_server_and_keeps_nothing(archive: Path, server: Server) -> None:
    before = {path.name for path in server.home.parent.iterdir()}
    said = run("restore", "--drill", str(archive), home=server.home).success
    assert re.search(r"^[\d,]+ rows in \d+ tables, and [\d,]+ files\. Nothing was kept\.$", said, re.MULTILINE), (
        said
    )
    assert {path.name for path in server.home.parent.iterdir()} == before


async def test_a_drill_names_the_files_that_a_backup_lacks(
    server: Server, register: Register, tmp_path: Path
) -> None:
    ana = await register("ana")
    trip_id = await ana.new_trip()
    bearer = {"authorization": f"Bearer {ana.token}", "content-type": "image/jpeg"}
    path = f"/v1/trips/{trip_id}/images"
    photo = (await ana.api.send("POST", path, headers=bearer, content=JPEG_OF_A_PHONE)).json()
    (server.home / "files" / "pictures" / f"{photo['id']}-original").unlink()
    file = tmp_path / "lacking.tar"
    assert "Done" in run("backup", str(file), home=server.home).success
    drilled = run("restore", "--drill", str(file), home=server.home)
    assert drilled.code == 1
    assert f"Missing: pictures/{photo['id']}-original" in drilled.out
    await ana.ask("DELETE", f"{path}/{photo['id']}", status=204)


@pytest.mark.one_machine("reads a folder of this machine")
async def test_a_server_writes_backups_by_itself(tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    async with Server(NOMADCREW_BACKUP_FOLDER=str(folder), NOMADCREW_BACKUP_KEEP="1") as own:

        async def written() -> list[Path]:
            return list(folder.glob("nomadcrew-*.tar")) if folder.is_dir() else []

        [file] = await eventually(written, within_s=30)
        assert "Nothing was kept" in run("restore", "--drill", str(file), home=own.home).success
        assert own.errors == []


async def test_a_restored_backup_serves_the_same_data(server: Server, register: Register, tmp_path: Path) -> None:
    ana = await register("ana")
    made = await ana.ask("POST", "/v1/trips", NEW_TRIP | {"name": "Kept"})
    file = tmp_path / "kept.tar"
    assert "Keep it as secret as the data folder" in run("backup", str(file), home=server.home).success

    copy = Server()
    try:
        assert f"Done: {copy.home}" in run("restore", str(file), home=copy.home).success
        # Without a running server, commands start PostgreSQL and stop it again.
        assert ana.email in run("user", "list", "--limit", "10000", home=copy.home).success
        assert "up to date" in run("migrate", home=copy.home).success
        assert "Done" in run("backup", str(tmp_path / "again.tar"), home=copy.home).success
        assert not (copy.home / "postgres" / "postmaster.pid").exists()

        await copy.start()
        api = Api(copy.url)
        kept = User(api, ana.id, ana.email, ana.username, ana.token, ana.refresh_token)
        assert await kept.ask("GET", f"/v1/trips/{made['id']}") == await ana.ask("GET", f"/v1/trips/{made['id']}")
        assert (await kept.sign_in()).id == ana.id
        await api.close()
        assert await copy.stop(signal.SIGTERM) == 0
        assert not (copy.home / "postgres" / "postmaster.pid").exists()
    finally:
        copy.close()


async def test_routes_and_openapi_list_the_served_routes(api: Api, home: Path) -> None:
    listed = {tuple(line.split()[:2]) for line in run("routes", home=home).success.splitlines()}
    assert listed == {(route.method, route.path) for route in ALL_ROUTES}
    printed = json.loads(run("openapi", home=home).success)
    assert printed["openapi"].startswith("3.1")
    assert printed["paths"] == (await api.send("GET", "/openapi.json")).json()["paths"]


def commands(group: click.Group, *names: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        yield " ".join((*names, name)), command
        if isinstance(command, click.Group):
            yield from commands(command, *names, name)


COMMANDS = [("", nomadcrew), *commands(nomadcrew)]


@pytest.mark.parametrize(("name", "command"), COMMANDS, ids=[name or "nomadcrew" for name, _ in COMMANDS])
def test_help_has_an_example_and_describes_every_option(name: str, command: click.Command) -> None:
    context = click.Context(command, info_name=f"nomadcrew {name}".strip(), terminal_width=78)
    if [parameter for parameter in command.params if parameter.name != "help"]:
        assert re.search(rf"Examples?:\n.* nomadcrew {name}", command.get_help(context)), "no example"
    assert "..." not in command.get_help(context).partition("Commands:")[2], "a summary in the list is cut"
    for option in command.params:
        assert not isinstance(option, click.Option) or option.help, option.name


def test_a_mistyped_command_gets_a_suggestion(home: Path) -> None:
    refused = run("upp", home=home)
    assert (refused.code, "Did you mean 'up'?" in refused.err) == (2, True)
    assert "Commands:" in run("--help", home=home).success


async def test_a_server_without_rate_limits_warns_loudly(server: Server) -> None:
    assert "RATE LIMITS ARE OFF" in server.log


@pytest.fixture
def without_nohup() -> Iterator[None]:
    """Children of `nohup` ignore a closed terminal, and the host leaves it so."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("without_nohup")
async def test_a_closed_terminal_stops_the_server_cleanly() -> None:
    async with Server() as running:
        assert await running.stop(signal.SIGHUP) == 0
        assert running.log.endswith("Stopped.\n")
        assert not (running.home / "postgres" / "postmaster.pid").exists()


async def test_an_installed_package_holds_every_file_that_it_reads(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    built = await asyncio.to_thread(subprocess.run, build, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    [wheel] = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    sources = (ROOT / "src").rglob("*")
    needed = {path.relative_to(ROOT / "src").as_posix() for path in sources if path.is_file()}
    needed |= {f"nomadcrew/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "migrations").glob("*.sql")}
    assert {name for name in needed if "__pycache__" not in name} <= held
