"""Telemetry of a Lambda function: the fields of its log lines, and counts that become metrics.

Counts are written once per invocation, if there are any, in CloudWatch's embedded metric format: CloudWatch Logs
turns such a line into metrics. Lambda itself counts invocations, errors and cold starts.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Final

from nomadcrew import logs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

REQUESTS_5XX: Final = "Requests5xx"
UNAVAILABLE: Final = "Unavailable"  # part of REQUESTS_5XX: caused by an outage of another service
EVENTS_PUBLISHED: Final = "EventsPublished"
JOBS_FAILED: Final = "JobsFailed"
JOBS_DEAD: Final = "JobsBuried"  # part of JOBS_FAILED: moved to the dead letters

_counts: dict[str, int] = {}


def count(metric: str, times: int = 1) -> None:
    """Add to a metric of this invocation."""
    if times:
        _counts[metric] = _counts.get(metric, 0) + times


class Invocations:
    """The invocations of a Lambda function, one after another: `with invocations.of(context): …`."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._environment = environment
        self._namespace = environment.get("POWERTOOLS_METRICS_NAMESPACE", "NomadCrew")
        self._service = environment.get("POWERTOOLS_SERVICE_NAME", "nomadcrew")
        self._function = {
            "function_name": environment["AWS_LAMBDA_FUNCTION_NAME"],
            "function_memory_size": int(environment.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", 0)),
        }
        # Environments of provisioned concurrency start before the first request.
        self._cold = environment.get("AWS_LAMBDA_INITIALIZATION_TYPE") != "provisioned-concurrency"
        self._fields: dict[str, Any] = {"cold_start": self._cold, **self._function}
        logs.say_on_every_line(self._fields)

    def of(self, context: object) -> Invocations:
        """The next invocation, described by Lambda's `context`."""
        self._fields = {"cold_start": self._cold, **self._function}
        request_id = getattr(context, "aws_request_id", None)
        if request_id is not None:
            self._fields["function_request_id"] = request_id
        trace = self._environment.get("_X_AMZN_TRACE_ID", "").partition(";")[0].removeprefix("Root=")
        if trace:
            self._fields["xray_trace_id"] = trace
        self._cold = False
        return self

    def __enter__(self) -> None:
        _counts.clear()
        logs.say_on_every_line(self._fields)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if _counts:
            logs.line(self._metrics())

    def _metrics(self) -> dict[str, Any]:
        metrics = [{"Name": name, "Unit": "Count"} for name in _counts]
        directive = {"Namespace": self._namespace, "Dimensions": [["service"]], "Metrics": metrics}
        about = {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive]}
        return {"_aws": about, "service": self._service, **self._fields, **_counts}


class _NoInvocations:
    """Replaces `Invocations` outside Lambda."""

    def of(self, _context: object) -> _NoInvocations:
        return self

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        _counts.clear()


def invocations() -> Invocations | _NoInvocations:
    """The invocations of this process."""
    return Invocations() if "AWS_LAMBDA_FUNCTION_NAME" in os.environ else _NoInvocations()
