"""Runs the real CDK command line, which deploys the synthesised templates unchanged to an emulator."""

import json
import os
import platform
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infrastructure.cdk import cdk_command, cdk_environment
from infrastructure.config import SOCKET_STAGE, stage_of
from infrastructure.package import PYTHON, Target, build, interpreter
from rehearsal.emulator import ACCOUNT, REGION, ROOT, Emulator

BUILD = ROOT / "build" / "rehearsal"
HTTP_ID, SOCKET_ID = "0000a001", "0000a002"
TIMEOUT_S = 300


@dataclass(frozen=True, slots=True)
class Deployed:
    """A deployment: the addresses for clients, and the outputs by stack."""

    url: str
    sockets: str
    mail: str
    outputs: dict[str, dict[str, str]]

    def output(self, name: str) -> str:
        """The output with that name.

        Raises:
            ValueError: no stack has it, or more than one.
        """
        [value] = [outputs[name] for outputs in self.outputs.values() if name in outputs]
        return value


def runtime() -> tuple[str, Path]:
    """The version and interpreter for functions: Lambda's version if this machine has it, else our own.

    It is a separate environment without packages, so that a package missing from a zip is noticed.
    """
    version = PYTHON if interpreter(PYTHON) else f"{sys.version_info[0]}.{sys.version_info[1]}"
    folder = BUILD / f"python{version}"
    python = folder / "bin" / "python"
    if not python.exists():
        found = interpreter(version)
        assert found is not None
        if found == sys.executable:
            venv.create(folder, with_pip=False)
        else:
            subprocess.run([found, "-m", "venv", "--without-pip", str(folder)], check=True)
    return version, python


def addresses(emulator: Emulator) -> tuple[str, str]:
    """The URLs of the APIs, known in advance because the stage fixes their ids."""
    base = f"127.0.0.1:{emulator.port}/_aws/execute-api"
    return f"http://{base}/{HTTP_ID}/$default", f"ws://{base}/{SOCKET_ID}/{SOCKET_STAGE}"


def deploy(emulator: Emulator, version: str, *, push_url: str, weather_url: str) -> Deployed:
    """Package, synthesise and deploy all stacks, with these two services.

    Raises:
        subprocess.CalledProcessError: a step failed and printed the reason.
    """
    url, sockets = addresses(emulator)
    arch = {"x86_64": "x86_64", "amd64": "x86_64"}.get(platform.machine().lower(), "arm64")
    build(stage_of("rehearsal"), Target(arch, version))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment = cdk_environment({**inherited, **emulator.environment})
    services = [f"expoUrl={push_url}", f"weatherUrl={weather_url}", "webhookNetworks=127.0.0.0/8"]
    context = ["stage=rehearsal", f"publicUrl={url}", f"arch={arch}", f"python={version}", *services]
    out = BUILD / "cdk.out"
    _cdk(["synth", "--quiet", "--output", str(out), *(f"--context={pair}" for pair in context)], environment)
    app = ["--app", str(out)]
    _cdk(["bootstrap", *app, f"aws://{ACCOUNT}/{REGION}"], environment)
    outputs = BUILD / "outputs.json"
    _cdk(
        [
            "deploy",
            *app,
            "--all",
            "--concurrency",
            "4",
            "--require-approval",
            "never",
            "--outputs-file",
            str(outputs),
        ],
        environment,
    )
    return Deployed(url, sockets, f"{emulator.url}/_ministack/ses/messages", json.loads(outputs.read_text()))


def _cdk(arguments: list[str], environment: dict[str, str]) -> None:
    command = [*cdk_command(), "--no-notices", *arguments]
    run: subprocess.CompletedProcess[Any] = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    if run.returncode:
        print(run.stdout[-8000:], run.stderr[-8000:], sep="\n", file=sys.stderr)
        run.check_returncode()
