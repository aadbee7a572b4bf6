"""The benchmark's cases are studies that this version reads."""

import sys
from pathlib import Path

import pytest

from cluster_sim.config.schema.study import Study
from cluster_sim.options import BASE_DIRECTORY
from tests.outside_package import CHECKOUT

sys.path.insert(0, str(CHECKOUT / "scripts"))
import bench
import bench_cases


@pytest.mark.parametrize("name", bench_cases.CASES)
def test_every_case_is_a_study(name: str) -> None:
    """Each case can be read, with its policy, engine and workload; the trace's stand-in has its size."""
    document = bench_cases.CASES[name].document(None)
    study = Study.model_validate(document, context={BASE_DIRECTORY: Path.cwd()})
    assert study.router.policy == document["router"]["policy"]


def test_growing_cases_come_in_two_sizes() -> None:
    """Each growing study has a case of its size and one four times as large."""
    for name, (size, document) in bench_cases.GROWTH.items():
        cases = [bench_cases.CASES[each].document(None) for each in (name, name + bench_cases.LARGER)]
        assert cases == [document(size), document(4 * size)]
        assert cases[0] != cases[1]


def test_an_unknown_commit_is_named() -> None:
    """A comparison with a commit that is not there ends with what git says of it, and leaves no checkout."""
    with (
        pytest.raises(SystemExit, match=r"--against no-such-commit: git says: .*no-such-commit"),
        bench.checkout("no-such-commit"),
    ):
        raise AssertionError
