"""What every template has to pass: cdk-nag, cfn-lint, sizes, no secret in sight."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from cfnlint.api import lint
from cfnlint.config import ManualArgs

from infrastructure.functions import FUNCTIONS
from tests.infrastructure.cloud import ROOT, Cloud, synthesise

MAX_RESOURCES = 400
MAX_ROUTES = 250
# Findings of cdk-nag that stand, in all: each is a reason on a resource, and what comes or goes changes a number.
ACKNOWLEDGED = {
    "APIG1": 1,
    "APIG4": 20,
    "IAM5": 37,
    "L1": len(FUNCTIONS),
    "RDS6": 1,
    "RDS11": 1,
    "SMG4": 2,
    "S1": 1,
    "SQS3": 15,
    "SNS2": 1,
    "VPC7": 1,
    "COG2": 1,
    "COG3": 1,
    "COG8": 1,
    "APIGWAccessLogging": 1,
    "LambdaDLQ": len(FUNCTIONS),
    "LambdaEventSourceMappingDestination": 9,
    "LambdaLatestVersion": len(FUNCTIONS),
    "LambdaStarPermissions": len(FUNCTIONS),
    "SQSRedrivePolicy": 15,
}
# What is another number in some: a queue in the place of a stream, and a cache beside DynamoDB.
ACKNOWLEDGED_THERE = {
    ("dev", "lean"): {"LambdaEventSourceMappingDestination": 10},
    ("dev", "rec"): {"F3002": 1},
    ("production", "document"): {"F3002": 1},
}
# CDK names what a role is needed for beside what needs it.
NOT_LINTED = ["W3005"]
SECRET = re.compile(
    r"(AKIA[0-9A-Z]{16}|-----BEGIN|(?i:password|secret|token)[a-z_]*\"\s*:\s*\"[A-Za-z0-9+/=_-]{12,}\")"
)
# Addresses and names of secrets, and switches, are none.
NO_SECRETS = ("arn:", "{{resolve:secretsmanager:")


def findings(cloud: Cloud) -> list[str]:
    report = cloud.folder / "validation-report.json"
    if not report.is_file():
        return []
    return [
        f"{violation['ruleName']}: {construct['constructPath']}"
        for plugin in json.loads(report.read_text())["pluginReports"]
        for violation in plugin["violations"]
        for construct in violation["violatingConstructs"]
    ]


def acknowledged(cloud: Cloud) -> dict[str, list[str]]:
    """The reasons by rule, from what CDK writes about constructs beside the templates."""
    found: dict[str, list[str]] = {}
    for file in cloud.folder.glob("*.metadata.json"):
        for entries in json.loads(file.read_text()).values():
            for entry in entries:
                if entry["type"].endswith("acknowledged-rules"):
                    for rule, reason in entry["data"].items():
                        name = re.split(r"[:-]", rule.partition("[")[0])[-1]
                        found.setdefault(name, []).append(reason)
    return found


def test_cdk_nag_finds_nothing(cloud: Cloud) -> None:
    assert findings(cloud) == []


def test_what_is_acknowledged_is_reasoned_and_counted(clouds: Mapping[tuple[str, str], Cloud]) -> None:
    found = {kind: acknowledged(cloud) for kind, cloud in clouds.items()}
    assert all(len(reason) > 20 for rules in found.values() for reasons in rules.values() for reason in reasons)
    counts = {kind: {rule: len(reasons) for rule, reasons in rules.items()} for kind, rules in found.items()}
    assert counts == {kind: ACKNOWLEDGED | ACKNOWLEDGED_THERE.get(kind, {}) for kind in clouds}


def test_cfn_lint_finds_nothing(clouds: Mapping[tuple[str, str], Cloud]) -> None:
    found = [
        f"{match.rule.id} {match.path}: {match.message}"
        for cloud in clouds.values()
        for file in sorted(cloud.folder.glob("*.template.json"))
        for match in lint(file.read_text(), config=ManualArgs(regions=["eu-west-1"], ignore_checks=NOT_LINTED))
    ]
    assert found == []


def test_stacks_stay_below_the_limits(cloud: Cloud) -> None:
    sizes = {stack: len(template["Resources"]) for stack, template in cloud.templates.items()}
    assert max(sizes.values()) <= MAX_RESOURCES, sizes
    assert len(cloud.all("AWS::ApiGatewayV2::Route")) <= MAX_ROUTES


def test_no_template_holds_a_secret(cloud: Cloud) -> None:
    for stack, template in cloud.templates.items():
        for found in SECRET.finditer(json.dumps(template)):
            assert any(text in found.group() for text in NO_SECRETS), f"{stack}: {found.group()}"


def test_another_processor_changes_digests_of_packages_only(tmp_path: Path) -> None:
    one = synthesise(tmp_path / "arm64", "rehearsal", "lean", content="arm64")
    other = synthesise(tmp_path / "x86_64", "rehearsal", "lean", content="x86_64")
    assert one.templates != other.templates
    assert _without_digests(one) == _without_digests(other)


def _without_digests(cloud: Cloud) -> str:
    """The templates without names of packages and, of what is made from these, of versions."""
    text = json.dumps(cloud.templates, sort_keys=True)
    packages = {function["Code"]["S3Key"] for function in cloud.properties("AWS::Lambda::Function")}
    for package in packages:
        text = text.replace(package, "package.zip")
    return re.sub(r"(CurrentVersion[0-9A-F]{8})[0-9a-f]{32}", r"\1", text)


def test_the_types_that_the_rehearsal_has_to_know_are_listed(clouds: Mapping[tuple[str, str], Cloud]) -> None:
    listed = (Path(__file__).with_name("resource_types.txt")).read_text().split()
    used = {resource["Type"] for _, _, resource in clouds["rehearsal", "lean"].resources}
    assert sorted(used) == listed, "\n".join(sorted(used))


def test_nothing_is_looked_up_while_synthesising(cloud: Cloud) -> None:
    assert "missing" not in json.loads((cloud.folder / "manifest.json").read_text())
    assert not (ROOT / "cdk.context.json").exists()


@pytest.mark.parametrize("name", ["rehearsal", "dev", "staging", "production"])
def test_every_stage_has_its_numbers(name: str) -> None:
    from infrastructure.config import stage_of

    stage = stage_of(name, environment={"CDK_DEFAULT_ACCOUNT": "1"})
    assert stage.name == name
    assert stage.api_burst >= stage.api_rate
