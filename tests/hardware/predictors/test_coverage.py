"""The coverage of a run, counted by hand, and the limit on extrapolation."""

import numpy as np
import pytest

from cluster_sim.errors import InputError
from cluster_sim.hardware.batch_shape import BatchShape, Int64Array
from cluster_sim.hardware.predictors.coverage import (
    Coverage,
    CoverageCounter,
    check_coverage,
    coverage_of,
    total_coverage,
)
from cluster_sim.hardware.predictors.predictor_interface import MeasuredSteps, Predictor


class UpToTenTokens(Predictor):
    """Steps of 1 ns, measured up to 10 cached tokens a request."""

    measured = MeasuredSteps.SOME

    def __init__(self, stages: int = 1) -> None:
        super().__init__()
        self.stages = stages

    def step_ns(self, shape: BatchShape, stage: int = 0) -> int:  # noqa: ARG002
        return 1

    def decode_run_ns(self, decodes: int, kv_tokens: int, steps: int, stage: int = 0) -> Int64Array:  # noqa: ARG002
        return np.ones(steps, np.int64)

    def floor_ns(self, stage: int = 0) -> int:  # noqa: ARG002
        return 1

    def is_inside(self, shape: BatchShape, stage: int = 0) -> bool:  # noqa: ARG002
        return shape.decode_kv_tokens <= 10 * shape.decodes

    def steps_inside(self, decodes: int, kv_tokens: int, steps: int, stage: int = 0) -> int:  # noqa: ARG002
        return sum(self.is_inside(BatchShape(decodes, kv_tokens + step * decodes)) for step in range(steps))


def test_steps_are_counted_for_every_stage_and_rank() -> None:
    """One prediction a stage and a rank of a step; a run counts as its steps do one by one."""
    counter = CoverageCounter(UpToTenTokens(stages=2))
    counter.add_step(BatchShape(2, 20))
    assert counter.total == Coverage(2, 0)
    counter.add_step(BatchShape(3, 41, ranks=(BatchShape(1, 10), BatchShape(2, 31))))
    assert counter.total == Coverage(4, 2)
    counter.add_run(2, 18, 5)
    assert counter.total == Coverage(4 + 2 * 2, 2 + 2 * 3)
    assert total_coverage([Coverage(1, 2), Coverage(3, 4)]) == Coverage(4, 6)


def test_nothing_is_counted_where_the_number_of_steps_says_it() -> None:
    """A predictor with or without measurements, of one rank, needs no counter: 5 steps of 2 stages are 10."""
    predictor = UpToTenTokens(stages=2)
    assert CoverageCounter.if_needed(predictor) is not None
    for measured, coverage in ((MeasuredSteps.ALL, Coverage(10, 0)), (MeasuredSteps.NONE, Coverage(0, 10))):
        predictor.measured = measured
        assert CoverageCounter.if_needed(predictor) is None
        assert coverage_of(predictor, 5) == coverage
    predictor.ranks = 2
    assert CoverageCounter.if_needed(predictor) is not None


def test_limit_by_hand() -> None:
    """One in four extrapolated passes a limit of a quarter and fails one of a fifth, with the numbers."""
    check_coverage(Coverage(75, 25), 0.25)
    check_coverage(Coverage(0, 0), 0.0)
    check_coverage(Coverage(0, 10), 1.0)
    with pytest.raises(InputError, match=r"max_extrapolated is 0\.2, but 25 of 100 step predictions \(25\.0%\)"):
        check_coverage(Coverage(75, 25), 0.2)
