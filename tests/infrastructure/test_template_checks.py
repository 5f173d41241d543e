"""Checks that every template passes: cdk-nag, cfn-lint, sizes, no secrets."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from cfnlint.api import lint
from cfnlint.config import ManualArgs

from infrastructure.functions import FUNCTIONS
from nomadcrew.api.table import ALL_ROUTES
from nomadcrew.web.routes import Auth
from tests.infrastructure.stage_templates import ROOT, Templates, synthesise

MAX_RESOURCES = 400
# The default quota of an HTTP API, which can be raised on request.
MAX_ROUTES = 300
# Routes without a token: public rows with HEAD beside GET, and all other requests.
PUBLIC = [row for row in ALL_ROUTES if row.auth == Auth.PUBLIC]
OPEN = sum(2 if row.method == "GET" else 1 for row in PUBLIC) + 1
# Accepted findings of cdk-nag. Each has a reason on its resource; a new or resolved one changes a number.
ACKNOWLEDGED = {
    "APIG1": 1,
    "APIG4": OPEN + 7,  # and every frame of a socket
    "IAM5": 80,
    "L1": len(FUNCTIONS),
    "RDS6": 1,
    "RDS11": 1,
    "SMG4": 11,
    "S1": 1,
    "SQS3": 21,
    "SNS2": 1,
    "VPC7": 1,
    "COG2": 1,
    "COG3": 1,
    "COG8": 1,
    "APIGWAccessLogging": 1,
    "LambdaDLQ": len(FUNCTIONS),
    "LambdaEventSourceMappingDestination": 13,
    "LambdaLatestVersion": len(FUNCTIONS),
    "LambdaStarPermissions": len(FUNCTIONS),
    "SQSRedrivePolicy": 21,
}
# Stages with other numbers: a queue instead of a stream, and a cache beside DynamoDB.
ACKNOWLEDGED_BY_STAGE = {
    ("dev", "lean"): {"LambdaEventSourceMappingDestination": 14},
    ("dev", "rec"): {"F3002": 1},
    ("production", "document"): {"F3002": 1},
}
# CDK states dependencies on roles that CloudFormation infers.
NOT_LINTED = ["W3005"]
SECRET = re.compile(
    r"(AKIA[0-9A-Z]{16}|-----BEGIN|(?i:password|secret|token)[a-z_]*\"\s*:\s*\"[A-Za-z0-9+/=_-]{12,}\")"
)
# ARNs and names of secrets are not secret.
NOT_SECRET = ("arn:", "{{resolve:secretsmanager:")


def findings(templates: Templates) -> list[str]:
    report = templates.folder / "validation-report.json"
    if not report.is_file():
        return []
    return [
        f"{violation['ruleName']}: {construct['constructPath']}"
        for plugin in json.loads(report.read_text())["pluginReports"]
        for violation in plugin["violations"]
        for construct in violation["violatingConstructs"]
    ]


def acknowledged(templates: Templates) -> dict[str, list[str]]:
    """The reasons by rule, from the metadata that CDK writes beside the templates."""
    found: dict[str, list[str]] = {}
    for file in templates.folder.glob("*.metadata.json"):
        for entries in json.loads(file.read_text()).values():
            for entry in entries:
                if entry["type"].endswith("acknowledged-rules"):
                    for rule, reason in entry["data"].items():
                        name = re.split(r"[:-]", rule.partition("[")[0])[-1]
                        found.setdefault(name, []).append(reason)
    return found


def test_cdk_nag_finds_nothing(templates: Templates) -> None:
    assert findings(templates) == []


def test_accepted_findings_have_reasons_and_are_counted(stages: Mapping[tuple[str, str], Templates]) -> None:
    found = {kind: acknowledged(templates) for kind, templates in stages.items()}
    assert all(len(reason) > 20 for rules in found.values() for reasons in rules.values() for reason in reasons)
    counts = {kind: {rule: len(reasons) for rule, reasons in rules.items()} for kind, rules in found.items()}
    assert counts == {kind: ACKNOWLEDGED | ACKNOWLEDGED_BY_STAGE.get(kind, {}) for kind in stages}


def test_cfn_lint_finds_nothing(stages: Mapping[tuple[str, str], Templates]) -> None:
    found = [
        f"{match.rule.id} {match.path}: {match.message}"
        for templates in stages.values()
        for file in sorted(templates.folder.glob("*.template.json"))
        for match in lint(file.read_text(), config=ManualArgs(regions=["eu-west-1"], ignore_checks=NOT_LINTED))
    ]
    assert found == []


def test_stacks_stay_below_the_limits(templates: Templates) -> None:
    sizes = {stack: len(template["Resources"]) for stack, template in templates.templates.items()}
    assert max(sizes.values()) <= MAX_RESOURCES, sizes
    assert len(templates.all("AWS::ApiGatewayV2::Route")) <= MAX_ROUTES


def test_no_template_holds_a_secret(templates: Templates) -> None:
    for stack, template in templates.templates.items():
        for found in SECRET.finditer(json.dumps(template)):
            assert any(text in found.group() for text in NOT_SECRET), f"{stack}: {found.group()}"


def test_another_architecture_changes_package_digests_only(tmp_path: Path) -> None:
    one = synthesise(tmp_path / "arm64", "rehearsal", "lean", content="arm64")
    other = synthesise(tmp_path / "x86_64", "rehearsal", "lean", content="x86_64")
    assert one.templates != other.templates
    assert _without_digests(one) == _without_digests(other)


def _without_digests(templates: Templates) -> str:
    """The templates without names of packages and versions."""
    text = json.dumps(templates.templates, sort_keys=True)
    packages = {function["Code"]["S3Key"] for function in templates.properties("AWS::Lambda::Function")}
    for package in packages:
        text = text.replace(package, "package.zip")
    return re.sub(r"(CurrentVersion[0-9A-F]{8})[0-9a-f]{32}", r"\1", text)


def test_resource_types_of_the_rehearsal_are_listed(
    stages: Mapping[tuple[str, str], Templates],
) -> None:
    listed = (Path(__file__).with_name("resource_types.txt")).read_text().split()
    used = {resource["Type"] for _, _, resource in stages["rehearsal", "lean"].resources}
    assert sorted(used) == listed, "\n".join(sorted(used))


def test_synthesis_looks_nothing_up(templates: Templates) -> None:
    assert "missing" not in json.loads((templates.folder / "manifest.json").read_text())
    assert not (ROOT / "cdk.context.json").exists()


@pytest.mark.parametrize("name", ["rehearsal", "dev", "staging", "production"])
def test_every_stage_has_a_configuration(name: str) -> None:
    from infrastructure.config import stage_of

    stage = stage_of(name, environment={"CDK_DEFAULT_ACCOUNT": "1"})
    assert stage.name == name
    assert stage.api_burst >= stage.api_rate
