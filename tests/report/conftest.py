"""A small real run in its directory."""

from pathlib import Path

import pytest

from tests.small_run import run_small


@pytest.fixture(scope="session")
def run_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a complete run of 200 requests on two replicas."""
    limits = "slo={ttft_p99_s: 0.05, tpot_p99_s: 0.1}"
    return run_small(tmp_path_factory.mktemp("report"), "workload.count=200", limits).directory
