"""The report of `make bench` compares with the least that a request can cost, and hides no failure."""

import pytest

from bench.load import Sample
from bench.report import AT, Results, budgets, text


def sample(cpu_us: float) -> Sample:
    return Sample(1_000.0, cpu_us, 1.0, 2.0, 50.0)


def results(kind: str, cpu_us: float) -> Results:
    measured = Results()
    measured.add(kind, AT, "driver", sample(30))
    measured.add(kind, AT, "empty", sample(20))
    measured.add(kind, AT, "plain", sample(500))
    for _ in range(3):
        measured.add(kind, AT, "nomadcrew", sample(cpu_us))
    return measured


@pytest.mark.parametrize(
    ("kind", "cpu_us", "verdict"),
    [("trips", 100, "ok"), ("trips", 101, "OVER"), ("todo", 150, "ok"), ("todo", 151, "OVER")],
)
def test_a_read_may_cost_twice_and_a_write_thrice_the_driver_and_uvicorn(
    kind: str, cpu_us: float, verdict: str
) -> None:
    [budget] = [budget for budget in budgets(results(kind, cpu_us)) if budget.measured]
    assert budget.verdict == verdict


def test_with_more_connections_than_the_driver_has_its_figure_of_the_budget_counts() -> None:
    measured = results("trips", 100)
    measured.add("trips", 64, "nomadcrew", sample(110))
    measured.add("trips", 64, "empty", sample(25))
    measured.add("trips", 64, "plain", sample(500))
    assert "2.00×" in text(measured, [])


def test_a_start_has_its_median() -> None:
    measured = Results(starts_s=[0.9, 5.0, 0.8])
    [budget] = [budget for budget in budgets(measured) if budget.measured]
    assert (budget.measured, budget.verdict) == (0.9, "ok")


def test_a_failed_kind_is_in_the_report() -> None:
    measured = results("trips", 100)
    measured.failures.append("GET /v1/trips: 3 × 503, of 900 requests")
    assert "FAILED GET /v1/trips: 3 × 503, of 900 requests" in text(measured, [])
