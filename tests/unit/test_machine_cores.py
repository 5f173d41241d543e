"""The number of server processes by the cores that may be used."""

import math
from pathlib import Path

import pytest

from nomadcrew.hosts.machine.cores import available_cores, default_workers, quota_cores
from nomadcrew.settings import MAX_WORKERS


@pytest.mark.parametrize(("cores", "workers"), [(1, 1), (2, 1), (3, 1), (4, 2), (8, 4), (128, MAX_WORKERS)])
def test_half_of_the_cores_answer_requests(cores: int, workers: int) -> None:
    assert default_workers(cores) == workers


def test_the_lowest_quota_of_a_cgroup_and_those_above_counts(tmp_path: Path) -> None:
    service = tmp_path / "system.slice" / "nomadcrew.service"
    service.mkdir(parents=True)
    assert quota_cores(service, tmp_path) == math.inf
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert quota_cores(service, tmp_path) == math.inf
    (service / "cpu.max").write_text("150000 100000\n")
    assert quota_cores(service, tmp_path) == 2
    (service.parent / "cpu.max").write_text("50000 100000\n")
    assert quota_cores(service, tmp_path) == 1


def test_at_least_one_core_is_available() -> None:
    assert available_cores() >= 1
