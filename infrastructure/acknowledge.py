"""Acknowledged findings of cdk-nag, each on its resource and with the reason."""

from collections.abc import Mapping

from aws_cdk import Acknowledgment, Validations
from constructs import IConstruct


def acknowledge(construct: IConstruct, reasons: Mapping[str, str]) -> None:
    """Give reasons why rules do not apply to a construct and its children; `SQS3` is a rule of AwsSolutions."""
    Validations.of(construct).acknowledge(
        *(Acknowledgment(id=_full(id_), reason=why) for id_, why in reasons.items())
    )


def _full(id_: str) -> str:
    if "::" in id_.partition("[")[0]:
        return id_
    return f"Serverless::{id_}" if id_.startswith("Serverless-") else f"AwsSolutions::AwsSolutions-{id_}"
