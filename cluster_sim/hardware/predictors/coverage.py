"""Coverage: how many of a run's step predictions lie inside the measured region, and the limit on the others."""

from collections.abc import Iterable
from typing import NamedTuple

from cluster_sim.errors import InputError
from cluster_sim.hardware.batch_shape import BatchShape
from cluster_sim.hardware.predictors.predictor_interface import MeasuredSteps, Predictor


class Coverage(NamedTuple):
    """Step predictions by where they lie."""

    inside: int
    """Inside the measured region."""
    extrapolated: int


class CoverageCounter:
    """Counts the predictions of the steps that one replica has made: one for each stage, and for each rank of a step.

    Only a predictor whose steps lie now inside, now outside its measured region is asked; for all others the number of
    steps says everything.
    """

    __slots__ = ("_predictor", "inside", "predictions")

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self.predictions = 0
        self.inside = 0

    @classmethod
    def if_needed(cls, predictor: Predictor) -> "CoverageCounter | None":
        """Return a counter; None if ``coverage_of`` the number of steps says it all."""
        return cls(predictor) if predictor.ranks > 1 or predictor.measured is MeasuredSteps.SOME else None

    @property
    def total(self) -> Coverage:
        """All that was counted so far."""
        return Coverage(self.inside, self.predictions - self.inside)

    def add_step(self, shape: BatchShape) -> None:
        """Count one step of every stage."""
        predictor = self._predictor
        for stage in range(predictor.stages):
            for part in shape.ranks or (shape,):
                self.predictions += 1
                self.inside += predictor.is_inside(part, stage)

    def add_run(self, decodes: int, kv_tokens: int, steps: int) -> None:
        """Count ``steps`` consecutive decode-only steps of every stage, by one rank."""
        predictor = self._predictor
        self.predictions += steps * predictor.stages
        for stage in range(predictor.stages):
            self.inside += predictor.steps_inside(decodes, kv_tokens, steps, stage)


def coverage_of(predictor: Predictor, steps: int) -> Coverage:
    """Return the coverage of ``steps`` steps where none is told apart from another."""
    predictions = steps * predictor.stages
    return Coverage(predictions, 0) if predictor.measured is MeasuredSteps.ALL else Coverage(0, predictions)


def total_coverage(parts: Iterable[Coverage]) -> Coverage:
    """Return the sum over replicas."""
    kept = list(parts)
    return Coverage(sum(part.inside for part in kept), sum(part.extrapolated for part in kept))


def check_coverage(coverage: Coverage, limit_ratio: float) -> None:
    """Raise InputError when more than ``limit_ratio`` of the step predictions lay outside measured regions."""
    extrapolated, steps = coverage.extrapolated, sum(coverage)
    if steps and extrapolated > limit_ratio * steps:
        raise InputError(
            f"predictor.max_extrapolated is {limit_ratio:g}, but {extrapolated:,} of {steps:,} step predictions "
            f"({extrapolated / steps:.1%}) lay outside the measured region: measure more, or allow more"
        )
