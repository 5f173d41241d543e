"""The methods of all paths on AWS: those of the table, found as the router of the machine host finds them."""

import pytest

from nomadcrew.api.table import ALL_ROUTES
from nomadcrew.hosts.aws.allowed_methods import FILE, AllowedMethods
from nomadcrew.hosts.machine.http.router import Router
from nomadcrew.web.routes import allowed
from tests.allowed_methods import text

ROUTER = Router(ALL_ROUTES)


def test_the_list_is_that_of_the_table() -> None:
    assert FILE.read_text() == text(), "run `python -m tests.allowed_methods`"


@pytest.mark.parametrize(
    "path",
    [
        *sorted({route.path for route in ALL_ROUTES}),
        "/v1/users/search", "/v1/users/x", "/v1/trips", "/v1/trips/", "/v1/trips/x/", "/v1/trips/x/none", "/", "",
        "/v1", "/v2/trips", "//", "/v1/trips/x/images:presign", "/v1/trips/x/images:other",
    ],
)  # fmt: skip
def test_a_path_has_the_methods_that_the_other_host_allows(path: str) -> None:
    methods = ROUTER.methods(path)
    assert AllowedMethods.load().of(path) == (allowed(methods) if methods else None)
