"""The emulated account, through the AWS SDK."""

from typing import Any

import boto3

from rehearsal.running import Rehearsal


def client(rehearsal: Rehearsal, service: str) -> Any:
    environment = rehearsal.emulator.environment
    made: Any = boto3.client
    return made(
        service,
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        region_name=environment["AWS_REGION"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
    )
