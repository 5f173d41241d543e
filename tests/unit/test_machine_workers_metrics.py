"""One metrics page for several processes."""

import re

from nomadcrew.core.queues import QueueDepth
from nomadcrew.hosts.machine.http.metrics import Metrics
from nomadcrew.hosts.machine.workers.metrics import merge_metrics


def a_page(requests: int, sockets: int) -> str:
    metrics = Metrics("1.2")
    for number in range(requests):
        metrics.request("GET /v1/trips", 200, 0.002 * (number + 1))
    metrics.sockets(sockets)
    return metrics.render().decode()


def test_counters_gauges_and_histograms_are_added() -> None:
    page = merge_metrics([a_page(0, 0), a_page(3, 5), a_page(4, 7)])
    assert 'nomadcrew_requests_total{method="GET",route="/v1/trips",status="200"} 7.0' in page
    assert "\nnomadcrew_sockets 12.0\n" in page
    assert 'nomadcrew_request_seconds_count{method="GET",route="/v1/trips"} 7.0' in page
    assert 'nomadcrew_request_seconds_bucket{le="+Inf",method="GET",route="/v1/trips"} 7.0' in page


def test_build_and_uptime_are_those_of_the_host() -> None:
    pages = [a_page(0, 0), a_page(1, 1)]
    page = merge_metrics(pages)
    [build] = re.findall(r"^nomadcrew_build_info\{.*\} (.*)$", page, re.MULTILINE)
    [uptime] = re.findall(r"^nomadcrew_uptime_seconds (.*)$", page, re.MULTILINE)
    assert build == "1.0"
    assert f"nomadcrew_uptime_seconds {uptime}" in pages[0]
    pattern = r"^nomadcrew_request_seconds_created\{.*\} (.*)$"
    created, its = (
        [float(value) for value in re.findall(pattern, text, re.MULTILINE)] for text in (page, pages[1])
    )
    assert created == its


def test_every_series_appears_once_under_its_heading() -> None:
    host = Metrics()
    host.queues([QueueDepth("email", waiting=5, in_flight=1, dead=2, oldest_s=9.5)])
    page = merge_metrics([host.render().decode(), a_page(2, 1), a_page(1, 0)])
    assert len(re.findall(r"^# TYPE (\S+)", page, re.MULTILINE)) == len(
        set(re.findall(r"^# TYPE (\S+)", page, re.MULTILINE))
    )
    family, series = "", []
    for line in page.splitlines():
        if line.startswith("# HELP "):
            family = line.split()[2]
        elif not line.startswith("#"):
            assert line.startswith(family), (family, line)
            series.append(line.rpartition(" ")[0])
    assert len(series) == len(set(series))


def test_a_single_page_keeps_its_values() -> None:
    page = a_page(3, 2)
    assert numbers(merge_metrics([page])) == numbers(page)


def numbers(page: str) -> dict[str, float]:
    lines = [line.rpartition(" ") for line in page.splitlines() if not line.startswith("#")]
    return {series: float(value) for series, _, value in lines}
