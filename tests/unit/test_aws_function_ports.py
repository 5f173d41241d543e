"""The ports and settings of functions: declared, used and configured."""

import re
from pathlib import Path

import pytest

from nomadcrew import api
from nomadcrew.adapters.aws.sdk.config import AwsConfig
from nomadcrew.api.table import FUNCTIONS
from nomadcrew.core.erasure.service import Eraser
from nomadcrew.core.errors import BadSetting, Unauthenticated
from nomadcrew.core.ports import Ports
from nomadcrew.hosts.aws.ports import STANDS_ON, ports_in
from nomadcrew.web.routes import Auth, Routes

FOLDER = Path(api.__file__).parent
# Ports of every function.
GIVEN = {"site", "clock", "new_id"}
AWS = {
    "NOMADCREW_PUBLIC_URL": "https://api.test",
    "NOMADCREW_AWS_SQL": "data-api",
    "NOMADCREW_AWS_CLUSTER_ARN": "arn:aws:rds:eu-west-1:000000000000:cluster:c",
    "NOMADCREW_AWS_DATABASE_SECRET_ARN": "arn:aws:secretsmanager:eu-west-1:000000000000:secret:s",
    "NOMADCREW_AWS_DATABASE": "nomadcrew",
}


@pytest.mark.parametrize("routes", FUNCTIONS, ids=lambda routes: routes.function)
def test_a_function_declares_the_ports_that_its_routes_use(routes: Routes) -> None:
    # The routes, the sources of an export, and the views of what is synchronised.
    files = [file for file in (FOLDER / routes.function).iterdir() if file.stem in ("routes", "sources", "views")]
    text = "".join(file.read_text() for file in files)
    used = set(re.findall(r"ports\.(\w+)", text)) - GIVEN
    if "Eraser.of(" in text:
        used |= set(Eraser.__struct_fields__) - GIVEN
    # The dispatcher uses these for every route.
    used.add("limits")
    if any(row.auth is not Auth.PUBLIC for row in routes):
        used.add("open_sessions")
    if any(row.mutates and row.uses_outbox for row in routes):
        used.add("outbox")
    if any(row.mutates and row.versioned for row in routes):
        used.add("versions")
    if any(row.mutates and row.idempotency.takes_key for row in routes):
        used.add("idempotency")
    assert set(routes.ports) == used


def test_every_port_names_its_services() -> None:
    assert set(STANDS_ON) | GIVEN == set(Ports.__struct_fields__)


def test_an_undeclared_port_is_refused_by_name() -> None:
    ports = ports_in(AWS, ("trips",))
    with pytest.raises(RuntimeError, match="does not declare its port 'todos'"):
        _ = ports.todos.add
    assert ports.trips.list_for_user is not None


def test_an_unknown_variable_is_refused() -> None:
    with pytest.raises(BadSetting, match="NOMADCREW_AWS_CLUSTER is not a setting of a function"):
        AwsConfig.read({"NOMADCREW_AWS_CLUSTER": "x"})


def test_a_missing_variable_of_a_port_is_named() -> None:
    with pytest.raises(BadSetting, match="NOMADCREW_AWS_CLUSTER_ARN is not set"):
        ports_in({"NOMADCREW_AWS_SQL": "data-api"}, ("trips",))
    with pytest.raises(BadSetting, match="must be data-api or proxy"):
        ports_in({}, ("trips",))


async def test_a_token_that_the_gateway_did_not_verify_is_refused() -> None:
    """For example an ID token, which the gateway accepts."""
    ports = ports_in(AWS, ("trips",))
    with pytest.raises(Unauthenticated):
        await ports.verifier.verify("a.b.c", now=ports.clock())
    with pytest.raises(RuntimeError, match="'tokens'"):
        _ = ports.tokens.issue
