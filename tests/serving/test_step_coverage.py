"""The coverage of a run counts the steps that replicas make, not those that they only try or plan."""

from pathlib import Path
from random import Random

import pytest

from cluster_sim.hardware.predictors.coverage import total_coverage
from cluster_sim.hardware.predictors.operator_profile_file import write_profile
from tests.engine.small_fleet import SmallFleet, run_apart, run_inline, single_stepped
from tests.hardware.predictors.small_profile import small_profile

ARRIVALS = tuple((20.0 * number, 200 * (1 + number % 7), 1 + number * 13 % 90) for number in range(40))
"""Prompts of up to 1,400 tokens in chunks of up to 1,200; the small profile has chunks of up to 1,000."""


def fleet(policy: str, predictor: dict[str, object], stages: int) -> SmallFleet:
    return SmallFleet(
        arrivals=ARRIVALS,
        replicas=3,
        stages=stages,
        engine={
            "max_num_seqs": 8,
            "max_num_batched_tokens": 1200,
            "num_kv_blocks": 200,
            "policy": policy,
            "ordering": {"long_prompt_tokens": 600},
        },
        predictor=predictor,
        is_varied=True,
    )


@pytest.mark.parametrize("stages", [1, 2])
@pytest.mark.parametrize("policy", ["edf", "st"])
def test_coverage_counts_the_steps_that_are_made(tmp_path: Path, policy: str, stages: int) -> None:
    """Policies that price steps on trial make no difference: predictions are iterations times stages, in single steps
    and fast-forwarded, with replicas together and apart, however much of the predictor is measured.
    """
    path = tmp_path / "profile.parquet"
    write_profile(small_profile(), path)
    table = {"kind": "table", "path": str(path)}
    for predictor in (table, {"kind": "roofline"}, {"kind": "linear", "alpha_us": 900.0, "beta_us": 40.0}):
        small = fleet(policy, predictor, stages)
        inline, _ = run_inline(small)
        for replica, coverage in zip(inline.replicas, inline.coverage, strict=True):
            assert sum(coverage) == stages * replica.iterations > 0
        assert run_inline(single_stepped(small))[0].coverage == inline.coverage
        assert run_apart(small, [[2], [0, 1]], Random(1).randrange).coverage == inline.coverage
        if predictor is table:
            assert min(total_coverage(inline.coverage)) > 0
