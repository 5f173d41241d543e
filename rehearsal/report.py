"""Writes docs/rehearsal.md: the results and limits of a rehearsal."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from rehearsal.deploy import BUILD
from rehearsal.emulator import ROOT
from rehearsal.lists import must_run
from rehearsal.resources import PARTLY, PLACEHELD

DOCUMENT = ROOT / "docs" / "rehearsal.md"


class Outcomes:
    """The outcome of each test by its id, and the reasons of skipped ones."""

    def __init__(self) -> None:
        self.passed: set[str] = set()
        self.failed: set[str] = set()
        self.skipped: dict[str, str] = {}

    def note(self, report: pytest.TestReport) -> None:
        id_ = report.nodeid
        if report.failed:
            self.failed.add(id_)
        elif report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self.skipped[id_] = reason.removeprefix("Skipped: ")
        elif report.when == "call":
            self.passed.add(id_)

    def missing(self) -> list[str]:
        """Tests that must pass but did not."""
        return sorted(set(must_run()) - (self.passed - self.failed))


def write_report(outcomes: Outcomes, version: str) -> None:
    """Write the document; the same run always writes the same text."""
    templates = list((BUILD / "cdk.out").glob("*.template.json"))
    stacks, types = len(templates), resource_types(templates)
    real = {type_: count for type_, count in types.items() if type_ not in PLACEHELD}
    lines = [
        "# The rehearsal",
        "",
        "`make rehearse` deploys the synthesised templates, unchanged, to an AWS emulator on this machine, checks",
        "signatures and every function's role as AWS does, and runs the end-to-end tests of the one-machine host",
        "there, then chaos. This page is written by that command.",
        "",
        f"Functions ran on Python {version} without any package but those of their zips.",
        f"{stacks} stacks with {sum(types.values())} resources were deployed.",
        f"{len(outcomes.passed)} tests passed and {len(outcomes.failed)} failed;",
        f"{len(outcomes.skipped)} can be shown on one machine only.",
        "",
        "## Rehearsed",
        "",
        "| resource | how many |",
        "|---|---|",
        *(f"| {type_} | {count} |" for type_, count in sorted(real.items())),
        "",
        "## Placeheld",
        "",
        "Deployed as well, but what these are for does not happen there; `tests/infrastructure` asserts it on the",
        "templates.",
        "",
        "| resource | how many | what is not shown |",
        "|---|---|---|",
        *(f"| {type_} | {types[type_]} | {missing} |" for type_, missing in PLACEHELD.items() if type_ in types),
        "",
        "## Rehearsed in part",
        "",
        "| resource | what is not shown |",
        "|---|---|",
        *(f"| {type_} | {missing} |" for type_, missing in PARTLY.items() if type_ in types),
        "",
        "## Skipped",
        "",
        "| test | why |",
        "|---|---|",
        *(f"| `{id_}` | {reason} |" for id_, reason in sorted(_by_test(outcomes.skipped).items())),
        "",
    ]
    DOCUMENT.write_text("\n".join(lines))


def resource_types(templates: Iterable[Path]) -> Counter[str]:
    """The number of resources by type."""
    counts: Counter[str] = Counter()
    for template in templates:
        resources = json.loads(template.read_text()).get("Resources", {})
        counts.update(resource["Type"] for resource in resources.values())
    counts.pop("AWS::CDK::Metadata", None)
    return counts


def _by_test(skipped: Mapping[str, str]) -> dict[str, str]:
    """One row per test, without its parameters."""
    return {id_.partition("[")[0].removeprefix("tests/e2e/"): reason for id_, reason in skipped.items()}
