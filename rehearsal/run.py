"""`make rehearse`: deploys all stacks to an emulator on this machine, and runs end-to-end tests and chaos tests."""

import argparse
import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from typing import TypeVar

import pytest

from rehearsal import running
from rehearsal.deploy import BUILD, Deployed, addresses, deploy, runtime
from rehearsal.emulator import ROOT, Emulator
from rehearsal.function_logs import save_logs
from rehearsal.report import Outcomes, write_report
from rehearsal.running import Loop, Rehearsal
from tests.expo import expo
from tests.open_meteo import open_meteo
from tests.postgres import Postgres

T = TypeVar("T")
E2E = "tests/e2e"
CHAOS = "tests/rehearsal"
FUNCTION_LOG = BUILD / "functions.log"


class Watch:
    """A pytest plugin that records the outcomes of tests."""

    def __init__(self, outcomes: Outcomes) -> None:
        self._outcomes = outcomes

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._outcomes.note(report)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make rehearse", description=__doc__)
    parser.add_argument(
        "--keep", action="store_true", help="after the tests, keep everything running until Enter is pressed"
    )
    parser.add_argument(
        "-k", dest="chosen", default="", help="run only these tests, as in pytest; writes no report"
    )
    options = parser.parse_args()
    # SIGTERM must stop all started processes, as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    loop, postgres, outcomes = Loop(), Postgres(), Outcomes()
    _step("PostgreSQL", lambda: loop.run(postgres.start()))
    try:
        version, python = runtime()
        emulator = Emulator(postgres=postgres.pg.connect_kwargs, lambda_python=python)
        emulator.settings["AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI"] = addresses(emulator)[1].replace(
            "ws", "http", 1
        )
        services = contextlib.ExitStack()
        try:
            push_service, weather = services.enter_context(expo()), services.enter_context(open_meteo())
            os.environ["E2E_PUSH_URL"] = push_service.url
            _step("the emulator", emulator.start)
            deployed = _step(
                f"packages for Python {version}, synthesis, deployment",
                lambda: deploy(emulator, version, push_url=push_service.url, weather_url=weather.url),
            )
            running.current = Rehearsal(loop, postgres, emulator, deployed)
            code = _step("end-to-end tests", lambda: _run([E2E], options.chosen, deployed, outcomes))
            code = _step("chaos", lambda: _run([CHAOS], options.chosen, deployed, outcomes)) or code
            errors = save_logs(emulator, FUNCTION_LOG)
            print(f"── the functions' logs are in {FUNCTION_LOG.relative_to(ROOT)}")
            if errors:
                print("Errors that no test provokes:", *errors, sep="\n  ")
            if options.keep:
                input(f"Running at {deployed.url}, log in {emulator.log}; press Enter to stop. ")
        finally:
            if emulator.log.exists():
                shutil.copy(emulator.log, BUILD / "emulator.log")
            emulator.stop()
            services.close()
    finally:
        loop.run(postgres.stop())
    if options.chosen:
        return code
    missing = outcomes.missing()
    if missing:
        print("These tests must pass but did not:", *missing, sep="\n  ")
    write_report(outcomes, version)
    return code or bool(missing or errors)


def _run(paths: list[str], chosen: str, deployed: Deployed, outcomes: Outcomes) -> int:
    os.environ |= {
        "E2E_URL": deployed.url,
        "E2E_SOCKETS_URL": deployed.sockets,
        "E2E_MAIL_URL": deployed.mail,
    }
    # This process has imported modules that pytest would rewrite.
    quiet = "ignore::pytest.PytestAssertRewriteWarning"
    arguments = ["-q", "-W", quiet, "-p", "no:cacheprovider", *paths, *(["-k", chosen] if chosen else [])]
    code = pytest.main(arguments, plugins=[Watch(outcomes)])
    if code == pytest.ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    return 0 if code in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED) else int(code)


def _step(title: str, run: Callable[[], T]) -> T:
    print(f"── {title} …", flush=True)
    started_s = time.monotonic()
    result = run()
    print(f"── {title}: {time.monotonic() - started_s:.1f} s", flush=True)
    return result


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("Interrupted; everything is stopped.")
