"""Merges the metrics of several processes into one page in Prometheus' text format."""

from collections.abc import Sequence

# Metrics of the host itself, which are not summed.
_NOT_SUMMED = ("nomadcrew_uptime_seconds", "nomadcrew_build_info")


def merge_metrics(pages: Sequence[str]) -> str:
    """Each series once, summed over the pages; metrics that cannot be summed are the first page's, the host's."""
    lines: dict[str, str] = {}
    values: dict[str, float] = {}
    for page in pages:
        for line in page.splitlines():
            if line.startswith("#"):
                lines.setdefault(line, line)
                continue
            series, _, text = line.rpartition(" ")
            value = float(text)
            if series not in values:
                lines[series] = series
                values[series] = value
            elif series.partition("{")[0].endswith("_created"):  # the earliest start of counting
                values[series] = min(values[series], value)
            elif not series.startswith(_NOT_SUMMED):
                values[series] += value
    return "".join(_families(lines, values))


def _families(lines: dict[str, str], values: dict[str, float]) -> list[str]:
    """The lines, each metric's series under its heading."""
    order: dict[str, list[str]] = {}
    for key in lines:
        if key.startswith("# HELP "):
            order.setdefault(key.split(" ", 3)[2], [])
    for key in lines:
        name = key.split(" ", 3)[2] if key.startswith("#") else key.partition("{")[0]
        family = name if name in order else _family(name, order)
        text = key if key.startswith("#") else f"{key} {values[key]}"
        order.setdefault(family, []).append(text + "\n")
    return [line for family in order.values() for line in family]


def _family(name: str, known: dict[str, list[str]]) -> str:
    """The metric of a series: a histogram's series end in `_bucket`, `_sum` and `_count`."""
    for end in ("_bucket", "_sum", "_count"):
        if name.removesuffix(end) in known:
            return name.removesuffix(end)
    return name
