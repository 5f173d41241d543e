"""`make deploy STAGE=dev`: looks around, packs, synthesises, shows, asks, deploys and tries the result.

Migrations run on the way, before any new code answers. Credentials are those of the environment or of
`aws configure`; they are used by the CDK's command line only.
"""

import argparse
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from infrastructure import package
from infrastructure.cdk import cdk_command, cdk_environment
from infrastructure.config import PRESETS, STAGES, stage_of

ROOT = Path(__file__).parents[1]
# A public row that touches no SQL: keys that tokens are checked with.
SMOKE = "/.well-known/jwks.json"
SMOKE_TIMEOUT_S = 20


class CannotDeploy(Exception):
    """Why not, in a sentence."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="make deploy", description="Deploy a stage to AWS.")
    parser.add_argument("--stage", choices=[name for name in STAGES if name != "rehearsal"], required=True)
    parser.add_argument("--preset", choices=sorted(PRESETS))
    parser.add_argument("--yes", action="store_true", help="do not ask")
    given = parser.parse_args()
    try:
        url = deploy(given.stage, given.preset, asks=not given.yes)
    except (CannotDeploy, subprocess.CalledProcessError) as error:
        sys.exit(str(error))
    print(f"{given.stage} answers at {url}")


def deploy(stage_name: str, preset: str | None, *, asks: bool) -> str:
    """Deploy a stage; where it answers.

    Raises:
        CannotDeploy: something is missing, or somebody said no.
        subprocess.CalledProcessError: a step failed, and has said why.
    """
    environment = cdk_environment(os.environ)
    account = _account(environment)
    environment |= {"CDK_DEFAULT_ACCOUNT": account}
    stage = stage_of(stage_name, preset, environment=environment)
    environment |= {"CDK_DEFAULT_REGION": stage.region}
    _require_bootstrap(stage.region, environment)
    print(package.table(package.build(stage, package.Target("arm64", package.PYTHON))))
    chosen = ["-c", f"stage={stage_name}", *(["-c", f"preset={preset}"] if preset else [])]
    outside = ROOT / "build" / f"cdk-{stage_name}"
    _cdk(environment, "synth", "--quiet", "--output", str(outside), *chosen)
    _cdk(environment, "diff", "--app", str(outside), check=False)
    if asks and input(f"Deploy this to {account} in {stage.region}? [y/N] ").strip().lower() != "y":
        raise CannotDeploy("Nothing was deployed.")
    outputs = outside / "outputs.json"
    _cdk(
        environment, "deploy", "--app", str(outside), "--all", "--require-approval", "never",
        "--outputs-file", str(outputs),
    )  # fmt: skip
    url = str(json.loads(outputs.read_text())[stage.named("endpoints")]["ApiUrl"])
    _smoke(url)
    return stage.public_url or url


def _account(environment: Mapping[str, str]) -> str:
    """Whose credentials these are."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    region = environment.get("AWS_REGION") or environment.get("CDK_DEFAULT_REGION") or "eu-west-1"
    try:
        return str(boto3.client("sts", region_name=region).get_caller_identity()["Account"])
    except (BotoCoreError, ClientError) as error:
        raise CannotDeploy(f"There are no credentials that AWS takes: {error}") from error


def _require_bootstrap(region: str, environment: Mapping[str, str]) -> None:
    import boto3
    from botocore.exceptions import ClientError

    try:
        boto3.client("ssm", region_name=region).get_parameter(Name="/cdk-bootstrap/hnb659fds/version")
    except ClientError as error:
        target = f"aws://{environment['CDK_DEFAULT_ACCOUNT']}/{region}"
        raise CannotDeploy(
            f"Not prepared for CDK yet: run .venv/bin/python -m infrastructure.cdk bootstrap {target}"
        ) from error


def _cdk(environment: Mapping[str, str], *arguments: str, check: bool = True) -> None:
    subprocess.run([*cdk_command(), *arguments], cwd=ROOT, env=dict(environment), check=check)  # noqa: S603


def _smoke(url: str) -> None:
    """Ask something that anybody may, and something that nobody may without a token.

    Raises:
        CannotDeploy: the answers are not what they should be.
    """
    for path, expected in ((SMOKE, 200), ("/v1/trips", 401), ("/v1/nowhere", 404)):
        status = _status(url + path)
        if status != expected:
            raise CannotDeploy(f"Deployed, but {path} answers {status} instead of {expected}.")


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=SMOKE_TIMEOUT_S) as answer:  # noqa: S310 — an address of ours
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        return refused.code
    except OSError as error:
        raise CannotDeploy(f"Deployed, but {url} cannot be reached: {error}") from error


if __name__ == "__main__":
    main()
