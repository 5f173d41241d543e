"""`make deploy STAGE=dev`: checks, packages, synthesises, shows the changes, confirm, deploys and tests the result.

Migrations run during the deployment, before new code serves requests. Credentials come from the environment or
`aws configure`; only the CDK's command line uses them.
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
# A public route without SQL: the keys that verify tokens.
SMOKE = "/.well-known/jwks.json"
SMOKE_TIMEOUT_S = 20


class CannotDeploy(Exception):
    """The reason, in one sentence."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="make deploy", description="Deploy a stage to AWS.")
    parser.add_argument("--stage", choices=[name for name in STAGES if name != "rehearsal"], required=True)
    parser.add_argument("--preset", choices=sorted(PRESETS))
    parser.add_argument("--yes", action="store_true", help="deploy without confirmation")
    options = parser.parse_args()
    try:
        url = deploy(options.stage, options.preset, confirm=not options.yes)
    except (CannotDeploy, subprocess.CalledProcessError) as error:
        sys.exit(str(error))
    print(f"{options.stage} is deployed at {url}")


def deploy(stage_name: str, preset: str | None, *, confirm: bool) -> str:
    """Deploy a stage; returns its URL.

    Raises:
        CannotDeploy: a precondition is missing, or the deployment was not confirmed.
        subprocess.CalledProcessError: a step failed and printed the reason.
    """
    environment = cdk_environment(os.environ)
    account = _account(environment)
    environment |= {"CDK_DEFAULT_ACCOUNT": account}
    stage = stage_of(stage_name, preset, environment=environment)
    environment |= {"CDK_DEFAULT_REGION": stage.region}
    _require_bootstrap(stage.region, environment)
    print(package.table(package.build(stage, package.Target("arm64", package.PYTHON))))
    chosen = ["-c", f"stage={stage_name}", *(["-c", f"preset={preset}"] if preset else [])]
    folder = ROOT / "build" / f"cdk-{stage_name}"
    _cdk(environment, "synth", "--quiet", "--output", str(folder), *chosen)
    _cdk(environment, "diff", "--app", str(folder), check=False)
    if confirm and input(f"Deploy this to {account} in {stage.region}? [y/N] ").strip().lower() != "y":
        raise CannotDeploy("Nothing was deployed.")
    outputs = folder / "outputs.json"
    _cdk(
        environment, "deploy", "--app", str(folder), "--all", "--require-approval", "never",
        "--outputs-file", str(outputs),
    )  # fmt: skip
    url = str(json.loads(outputs.read_text())[stage.named("endpoints")]["ApiUrl"])
    _smoke(url)
    return stage.public_url or url


def _account(environment: Mapping[str, str]) -> str:
    """The AWS account of the credentials."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    region = environment.get("AWS_REGION") or environment.get("CDK_DEFAULT_REGION") or "eu-west-1"
    try:
        return str(boto3.client("sts", region_name=region).get_caller_identity()["Account"])
    except (BotoCoreError, ClientError) as error:
        raise CannotDeploy(f"AWS accepts no credentials from this environment: {error}") from error


def _require_bootstrap(region: str, environment: Mapping[str, str]) -> None:
    import boto3
    from botocore.exceptions import ClientError

    try:
        boto3.client("ssm", region_name=region).get_parameter(Name="/cdk-bootstrap/hnb659fds/version")
    except ClientError as error:
        target = f"aws://{environment['CDK_DEFAULT_ACCOUNT']}/{region}"
        raise CannotDeploy(
            "CDK is not bootstrapped in this account and region: "
            f"run .venv/bin/python -m infrastructure.cdk bootstrap {target}"
        ) from error


def _cdk(environment: Mapping[str, str], *arguments: str, check: bool = True) -> None:
    subprocess.run([*cdk_command(), *arguments], cwd=ROOT, env=dict(environment), check=check)  # noqa: S603


def _smoke(url: str) -> None:
    """Request a public route, one that requires a token, and one that does not exist.

    Raises:
        CannotDeploy: a status is not as expected.
    """
    for path, expected in ((SMOKE, 200), ("/v1/trips", 401), ("/v1/nowhere", 404)):
        status = _status(url + path)
        if status != expected:
            raise CannotDeploy(f"Deployed, but {path} answered {status} instead of {expected}.")


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=SMOKE_TIMEOUT_S) as answer:  # noqa: S310 — our own URL
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        return refused.code
    except OSError as error:
        raise CannotDeploy(f"Deployed, but {url} cannot be reached: {error}") from error


if __name__ == "__main__":
    main()
