"""Packages: they hold everything their function needs and nothing else, and builds are reproducible.

They are built for the interpreter of the tests, so that they can be imported here.
"""

import json
import platform
import ssl
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from infrastructure import package
from infrastructure.config import stage_of
from infrastructure.functions import API_FUNCTIONS, FUNCTIONS, ports_of
from infrastructure.imports import DATA, MIGRATIONS_READER, SOURCE

MACHINE = {"x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}
HERE = package.Target(MACHINE.get(platform.machine(), "x86_64"), f"{sys.version_info[0]}.{sys.version_info[1]}")
STAGE = stage_of("rehearsal", "lean")
PACKED = [spec.name for spec in FUNCTIONS]
UNKNOWN = {
    "version": "2.0",
    "routeKey": "$default",
    "rawPath": "/v1/nowhere",
    "rawQueryString": "",
    "headers": {},
    "requestContext": {
        "requestId": "r1",
        "http": {"method": "GET", "path": "/v1/nowhere", "sourceIp": "192.0.2.1"},
    },
}
# As in Lambda, modules come from the package and the standard library only.
LOAD = """
import importlib, json, sys
sys.path[:] = [path for path in sys.path if "-packages" not in path]
sys.path.insert(0, sys.argv[1])
handler = importlib.import_module(sys.argv[2]).handler
print(json.dumps(handler(json.loads(sys.argv[3]), None)) if sys.argv[3] else "{}")
"""
# Files that only the machine host and the command line read.
HOSTS_OWN = {"cli/routes/porto.gpx", "py.typed"}

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="packages are for Linux")


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every package, freshly built."""
    folder = tmp_path_factory.mktemp("packages")
    assert package.build(STAGE, HERE, folder).keys() == set(PACKED)
    return folder


def environment(function: str) -> dict[str, str]:
    from infrastructure.imports import function_environment

    return {**function_environment(function, STAGE), "AWS_LAMBDA_FUNCTION_NAME": function}


def load(folder: Path, function: str, event: object = None) -> dict[str, object]:
    """Import a package in a fresh interpreter and call it with an event."""
    with zipfile.ZipFile(folder / f"{function}.zip") as archive:
        archive.extractall(folder / function)
    run = subprocess.run(
        [sys.executable, "-I", "-c", LOAD, str(folder / function), f"nomadcrew.hosts.aws.functions.{function}",
         json.dumps(event) if event else ""],
        env=environment(function),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    answer: dict[str, object] = json.loads(run.stdout.splitlines()[-1])
    return answer


@pytest.mark.parametrize("function", PACKED)
def test_a_package_holds_every_import_of_its_function(packed: Path, function: str) -> None:
    load(packed, function)


def test_a_packed_function_answers(packed: Path) -> None:
    answer = load(packed, "pages", UNKNOWN)
    assert answer["statusCode"] == 404
    assert json.loads(str(answer["body"]))["code"] == "route_not_found"


def test_a_package_holds_time_zones_if_its_function_reads_them(packed: Path) -> None:
    for function, brings in (("notifier", True), ("notifications", True), ("trips", True), ("feedback", False)):
        with zipfile.ZipFile(packed / f"{function}.zip") as archive:
            assert ("tzdata/zoneinfo/Europe/Lisbon" in archive.namelist()) is brings, function


def test_the_same_files_give_the_same_bytes(packed: Path, tmp_path: Path) -> None:
    some = ("pages", "trips")
    package.build(STAGE, HERE, tmp_path, only=some)
    for name in some:
        assert (tmp_path / f"{name}.zip").read_bytes() == (packed / f"{name}.zip").read_bytes(), name


def test_an_unchanged_package_is_not_built_again(packed: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in packed.glob("*.zip")}
    package.build(STAGE, HERE, packed)
    assert {file: file.stat().st_mtime_ns for file in packed.glob("*.zip")} == before


def test_a_package_is_small_and_holds_no_foreign_modules(packed: Path) -> None:
    for name in API_FUNCTIONS:
        assert (packed / f"{name}.zip").stat().st_size <= package.api_limit(name)
    with zipfile.ZipFile(packed / "trips.zip") as archive:
        tops = {entry.partition("/")[0] for entry in archive.namelist()}
        ours = {
            entry.removesuffix("c")
            for entry in archive.namelist()
            if entry.startswith("nomadcrew/") and entry.endswith((".py", ".pyc"))
        }
    assert tops == {"amazon-roots.pem", "idna", "msgspec", "nomadcrew", "tzdata", "tzfpy"}
    assert "nomadcrew/api/trips/routes.py" in ours
    assert not any("todo" in path or "hosts/machine" in path or "cognito" in path for path in ours)


def test_one_package_holds_the_decoder_of_pictures(packed: Path) -> None:
    holders = set()
    for name in PACKED:
        with zipfile.ZipFile(packed / f"{name}.zip") as archive:
            if any(entry.startswith(("PIL/", "pillow.libs/")) for entry in archive.namelist()):
                holders.add(name)
    assert holders == {"renderer"}


def test_compiled_modules_do_not_depend_on_file_times(packed: Path) -> None:
    with zipfile.ZipFile(packed / "trips.zip") as archive:
        compiled = [entry for entry in archive.namelist() if entry.endswith(".pyc")]
        assert not any(entry.endswith(".py") for entry in archive.namelist())
        # Header of Python: a hash instead of a time, unchecked.
        assert {archive.read(entry)[4:8] for entry in compiled} == {b"\x01\0\0\0"}


def test_every_data_file_has_a_known_reader() -> None:
    folder = SOURCE / "nomadcrew"
    files = {
        str(file.relative_to(folder))
        for file in folder.rglob("*")
        if file.is_file() and file.suffix not in (".py", ".pyc")
    }
    known = {path for path in files if any(f"{path}/".startswith(f"{data}/") for data in DATA.values())}
    assert files - known == HOSTS_OWN
    for reader in (*DATA, MIGRATIONS_READER):
        assert SOURCE.joinpath(*reader.split(".")).with_suffix(".py").is_file(), reader


def test_every_function_declares_ports() -> None:
    for spec in FUNCTIONS:
        assert isinstance(ports_of(spec.name), tuple)


def test_the_root_certificates_are_amazons() -> None:
    names = [line.removeprefix("# ") for line in package.ROOTS.read_text().splitlines() if line.startswith("# ")]
    roots = ssl.create_default_context(cafile=str(package.ROOTS)).get_ca_certs()
    found = {dict(pair for part in root["subject"] for pair in part)["commonName"] for root in roots}  # type: ignore[misc]
    assert found == set(names)
    assert len(names) == 5
