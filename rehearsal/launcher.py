"""Starts the emulator with extensions: `python -m rehearsal.launcher`, in place of its own command.

The templates stay unchanged, so the emulator is extended through its internals, and its version is pinned.
Additional variables: `EMULATOR_POSTGRES`, JSON arguments for `asyncpg.connect` of the server behind every cluster;
`EMULATOR_LAMBDA_PYTHON`, the interpreter for functions, which must not have the emulator's packages;
`EMULATOR_CLOCK`, a file with the seconds by which the clock of queues is ahead.
"""

import json
import os
import sys
import time
from contextvars import ContextVar
from email.utils import parseaddr
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ministack.app import main
from ministack.core import iam_actions, iam_evaluator, lambda_runtime
from ministack.services import apigateway, rds_data, sqs

from rehearsal import resources
from rehearsal.data_api import DataApi, Refused


def wait_less_for_logs() -> None:
    """Reduce the emulator's wait for log lines, which delays silent functions by 50 ms."""
    lambda_runtime.Worker._drain_stderr_bounded.__defaults__ = (0.002, 0.001, 0.25)


def run_functions_with(python: str) -> None:
    """Run functions with another interpreter, so that a package missing from a zip is noticed."""
    detect = lambda_runtime._detect_runtime_binary

    def detected(runtime: str) -> tuple[str, str]:
        if runtime.startswith("python"):
            return python, lambda_runtime._PYTHON_WORKER_SCRIPT
        found: tuple[str, str] = detect(runtime)
        return found

    lambda_runtime._detect_runtime_binary = detected


def serve_data_api(server: dict[str, Any]) -> None:
    """Serve the Data API on a real PostgreSQL."""

    def target(resource_arn: str, secret_arn: str) -> dict[str, Any]:
        _, engine, cluster = rds_data._resolve_target(resource_arn)
        if engine is None or cluster is None:
            raise Refused("BadRequestException", f"Database cluster not found for ARN: {resource_arn}")
        if not cluster.get("HttpEndpointEnabled"):
            raise Refused("HttpEndpointNotEnabledException", "HTTP endpoint is not enabled for the cluster")
        user, password, refused = rds_data._require_secret_credentials(secret_arn)
        if refused:
            raise Refused("SecretsErrorException", f"no password in {secret_arn}")
        # The local server has its own owner, who stands for the cluster's; other users must exist.
        return dict(server) if user == cluster["MasterUsername"] else {**server, "login": (user, password)}

    rds_data.handle_request = DataApi(target).handle_request


def move_the_clock_of_queues(file: Path) -> None:
    """Advance the clock of queues by the seconds in a file, so that tests need not wait for visibility timeouts."""
    sqs.time = SimpleNamespace(time=lambda: time.time() + float(file.read_text()))


def pretend_tls() -> None:
    """Make policies that deny requests without TLS pass; the emulator has no TLS."""
    resolve = iam_evaluator._resolve_condition_key

    def resolved(key: str, context: Any) -> Any:
        return "true" if key.lower() == "aws:securetransport" else resolve(key, context)

    iam_evaluator._resolve_condition_key = resolved


def answer_401_to_strangers() -> None:
    """Refuse a socket with 401 if its authorizer raises `Unauthorized`, as AWS does; the emulator uses 500."""
    run, authorize = apigateway.run_reentrant, apigateway._authorize_ws_connect
    last_result: ContextVar[str] = ContextVar("last_result")

    async def watched(*arguments: Any, **names: Any) -> Any:
        result = await run(*arguments, **names)
        last_result.set(repr(result))
        return result

    async def authorized(*arguments: Any) -> Any:
        refusal, context = await authorize(*arguments)
        if refusal is not None and refusal[0] == 500 and "'Unauthorized'" in last_result.get("").replace('"', "'"):
            return (401, "Unauthorized"), None
        return refusal, context

    apigateway.run_reentrant = watched
    apigateway._authorize_ws_connect = authorized


def echo_subprotocols() -> None:
    """Accept a socket with the subprotocol of the function for `$connect`; the emulator sends none."""
    invoke, handle = apigateway._invoke_ws_lambda, apigateway.handle_websocket
    chosen: ContextVar[str | None] = ContextVar("chosen", default=None)

    async def invoked(*arguments: Any, **names: Any) -> Any:
        answer = await invoke(*arguments, **names)
        headers = {name.lower(): value for name, value in ((answer or {}).get("headers") or {}).items()}
        chosen.set(headers.get("sec-websocket-protocol"))
        return answer

    async def handled(scope: Any, receive: Any, send: Any, *rest: Any, **names: Any) -> None:
        async def sent(message: dict[str, Any]) -> None:
            await send(message | ({"subprotocol": chosen.get()} if message["type"] == "websocket.accept" else {}))

        await handle(scope, receive, sent, *rest, **names)

    apigateway._invoke_ws_lambda, apigateway.handle_websocket = invoked, handled


def name_senders() -> None:
    """Authorise mails by the sender and its domain identity, which the emulator does not pass to its policies."""
    resource_arn, resolve = iam_actions._ses_v2_resource_arn, iam_evaluator._resolve_condition_key
    last_sender: ContextVar[str] = ContextVar("last_sender")

    def resource(method: str, path: str, body: bytes, region: str, account: str) -> str:
        if path.endswith("/outbound-emails"):
            sender = parseaddr(json.loads(body).get("FromEmailAddress", ""))[1]
            last_sender.set(sender)
            return f"arn:aws:ses:{region}:{account}:identity/{sender.rpartition('@')[2]}"
        found: str = resource_arn(method, path, body, region, account)
        return found

    def resolved(key: str, context: Any) -> Any:
        return last_sender.get("") if key.lower() == "ses:fromaddress" else resolve(key, context)

    iam_actions._ses_v2_resource_arn, iam_evaluator._resolve_condition_key = resource, resolved


if __name__ == "__main__":
    wait_less_for_logs()
    pretend_tls()
    name_senders()
    answer_401_to_strangers()
    echo_subprotocols()
    if "EMULATOR_LAMBDA_PYTHON" in os.environ:
        run_functions_with(os.environ["EMULATOR_LAMBDA_PYTHON"])
    if "EMULATOR_POSTGRES" in os.environ:
        serve_data_api(json.loads(os.environ["EMULATOR_POSTGRES"]))
    if "EMULATOR_CLOCK" in os.environ:
        move_the_clock_of_queues(Path(os.environ["EMULATOR_CLOCK"]))
    resources.register_all()
    sys.exit(main())
