"""Saves the logs of all functions, to find the cause of a failure."""

from pathlib import Path
from typing import Any

import boto3

from rehearsal.emulator import Emulator

# Errors that tests provoke: a message that is not an event, and the authorizer's exception, which causes a 401.
PROVOKED = ('"exception_name":"NotAnEvent"', "-authorizer Traceback")


def save_logs(emulator: Emulator, path: Path) -> list[str]:
    """Write the log lines of all functions to a file; returns the errors that no test provokes."""
    environment = emulator.environment
    make_client: Any = boto3.client
    logs = make_client(
        "logs",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        region_name=environment["AWS_REGION"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
    )
    errors: list[str] = []
    with path.open("w") as file:
        for group in logs.get_paginator("describe_log_groups").paginate().search("logGroups[].logGroupName"):
            pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group)
            for message in pages.search("events[].message"):
                line = f"{group} {message.rstrip()}"
                file.write(f"{line}\n")
                is_error = '"level":"ERROR"' in line or "Traceback (most recent call last)" in line
                if is_error and not any(provoked in line for provoked in PROVOKED):
                    errors.append(line)
    return errors
