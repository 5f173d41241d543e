"""Writes the methods of every path, which a function of AWS reads: `python -m tests.allowed_methods`."""

from nomadcrew.api.table import ALL_ROUTES
from nomadcrew.hosts.aws.allowed_methods import FILE


def text() -> str:
    """The list for the present table, sorted by path."""
    methods: dict[str, list[str]] = {}
    for route in ALL_ROUTES:
        methods.setdefault(route.path, []).append(route.method)
    return "".join(f"{path} {' '.join(sorted(known))}\n" for path, known in sorted(methods.items()))


if __name__ == "__main__":
    FILE.write_text(text())
