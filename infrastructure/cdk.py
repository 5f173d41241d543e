"""The CDK command line with the project's own Node and version, independent of the machine's."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).parent
_CLI = HERE / "node_modules" / "aws-cdk" / "bin" / "cdk"
_BIN = Path(sys.executable).parent


def cdk_command() -> list[str]:
    """The command without arguments; installs the command line from its lock file if it is missing.

    Raises:
        subprocess.CalledProcessError: the installation failed.
    """
    locked = HERE / "package-lock.json"
    if not _CLI.exists() or _CLI.stat().st_mtime < locked.stat().st_mtime:
        subprocess.run([_BIN / "npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=HERE, check=True)  # noqa: S603
        _CLI.touch()
    return [str(_BIN / "node"), str(_CLI)]


def cdk_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment with the same Node for the app, and without warnings about its version."""
    return {
        **environment,
        "PATH": os.pathsep.join((str(_BIN), environment.get("PATH", ""))),
        "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "1",
        "CDK_DISABLE_CLI_TELEMETRY": "true",
    }


def main() -> None:
    command = [*cdk_command(), "--no-notices", *sys.argv[1:]]
    sys.exit(subprocess.run(command, env=cdk_environment(os.environ), check=False).returncode)  # noqa: S603


if __name__ == "__main__":
    main()
