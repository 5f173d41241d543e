"""Synthesised stages for the checks. Functions are placeholder folders: a template holds only their digests."""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ACCOUNT = "111111111111"
Resource = dict[str, Any]


@dataclass(frozen=True)
class Templates:
    """The templates of a stage, by stack."""

    folder: Path

    @cached_property
    def templates(self) -> dict[str, dict[str, Any]]:
        return {
            file.name.removesuffix(".template.json"): json.loads(file.read_text())
            for file in sorted(self.folder.glob("*.template.json"))
        }

    @cached_property
    def exports(self) -> dict[str, Any]:
        """The values that stacks share, by export name."""
        return {
            output["Export"]["Name"]: output["Value"]
            for template in self.templates.values()
            for output in template.get("Outputs", {}).values()
            if "Export" in output
        }

    def all(self, type_: str) -> dict[str, Resource]:
        """Every resource of a type, by logical id."""
        return {
            id_: resource
            for template in self.templates.values()
            for id_, resource in template["Resources"].items()
            if resource["Type"] == type_
        }

    def properties(self, type_: str) -> list[dict[str, Any]]:
        return [resource.get("Properties", {}) for resource in self.all(type_).values()]

    def templates_of(self, stack: str, type_: str) -> list[dict[str, Any]]:
        """The properties of a stack's resources of a type."""
        resources = self.templates[stack]["Resources"].values()
        return [one["Properties"] for one in resources if one["Type"] == type_]

    def text_of(self, value: Any) -> str:
        """A readable value: `<UserSessions>` stands for the name or ARN of a resource."""
        if isinstance(value, str):
            return value
        [(function, argument)] = value.items()
        match function:
            case "Fn::ImportValue":
                return self.text_of(self.exports[argument])
            case "Fn::GetAtt":
                return (
                    f"<{short(argument[0])}.{argument[1]}>" if argument[1] != "Arn" else f"<{short(argument[0])}>"
                )
            case "Ref":
                return {"AWS::Partition": "aws", "AWS::URLSuffix": "amazonaws.com"}.get(
                    argument, f"<{short(argument)}>"
                )
            case "Fn::Join":
                return str(argument[0]).join(self.text_of(part) for part in argument[1])
            case "Fn::Select":
                return f"{self.text_of(argument[1])}[{argument[0]}]"
            case "Fn::Split":
                return f"{self.text_of(argument[1])} by {argument[0]}"
            case _:
                raise AssertionError(f"unknown function {function}")

    @property
    def resources(self) -> Iterator[tuple[str, str, Resource]]:
        """Stack, logical id and resource of everything."""
        for stack, template in self.templates.items():
            for id_, resource in template["Resources"].items():
                yield stack, id_, resource


def short(id_: str) -> str:
    """A logical id without the digest that CDK appends."""
    stem, digest = id_[:-8], id_[-8:]
    return stem if len(stem) > 0 and all(c in "0123456789ABCDEF" for c in digest) else id_


def prepare() -> None:
    """Let CDK find the Node that is installed in the environment."""
    folder = str(Path(sys.executable).parent)
    if folder not in os.environ["PATH"].split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join((folder, os.environ["PATH"]))
    os.environ["JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION"] = "1"


def synthesise(folder: Path, stage_name: str, preset: str, *, content: str = "", **options: str) -> Templates:
    """The templates of a stage, checked by cdk-nag; `content` is the code of every function.

    `options` are those of `stage_of`.
    """
    prepare()
    from aws_cdk import App

    from infrastructure.app import build, check
    from infrastructure.config import stage_of
    from infrastructure.functions import FUNCTIONS

    for spec in FUNCTIONS:
        function = folder / "functions" / spec.name
        function.mkdir(parents=True)
        (function / "handler.py").write_text(f"# {spec.name} {content}")
    context = json.loads((ROOT / "cdk.json").read_text())["context"]
    app = App(outdir=str(folder / "out"), context=context)
    check(app)
    stage = stage_of(stage_name, preset, environment={"CDK_DEFAULT_ACCOUNT": ACCOUNT}, **options)
    build(app, stage, lambda name: str(folder / "functions" / name))
    app.synth()
    return Templates(folder / "out")
