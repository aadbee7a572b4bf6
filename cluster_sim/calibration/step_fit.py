"""Fit of coefficients to the mean steps of a server's log.

Design: intervals are put into groups of equally many by the number of running requests, so that each load counts alike.
A group's residual is the mean logarithm of predicted over measured step; priors, weights and steps are those of the fit
to runs (``fit.py``), without a simulation: batch and cache of a step are in the log.

A step's share of prompt tokens stands for whole prompts in some of the steps.  Their mean length L follows from the
mean context c and the prompt tokens per generated token r, as c = L + L / (2 r).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from cluster_sim.calibration.case import FloatArray
from cluster_sim.calibration.engine_log import EngineLog, Interval
from cluster_sim.calibration.fit import (
    DIFFERENCE_LOG,
    HUBER_LOG,
    LARGEST_STEP_LOG,
    PRIOR_WEIGHT,
    Parameter,
)
from cluster_sim.errors import InputError
from cluster_sim.hardware.batch_shape import BatchShape
from cluster_sim.hardware.predictors.predictor_interface import Predictor
from cluster_sim.shown_values import by_number, counted
from cluster_sim.units import NS_PER_S

FEWEST_INTERVALS: Final = 20
GROUPS: Final = 8
ITERATIONS: Final = 12
CONTEXT: Final = "context_tokens"
"""The parameter that stands for the mean context where the log does not tell the cache's usage."""
CONTEXT_PRIOR: Final = Parameter(CONTEXT, 500.0, 1.0)
MOST_PROMPTS: Final = 64
"""More short prompts in one step cost what so many of the same tokens do."""
EVEN_LOADS: Final = 1.5
"""Running requests within this factor are one load."""


@dataclass(frozen=True, slots=True)
class Group:
    """Intervals of about one load."""

    fewest: float
    most: float
    intervals: tuple[Interval, ...]

    @property
    def step_ms(self) -> float:
        """Mean step measured."""
        return 1e3 * float(np.mean([interval.step_s for interval in self.intervals]))


def groups_of(log: EngineLog) -> list[Group]:
    """Return the groups of a log; InputError for too few intervals."""
    count = len(log.intervals)
    if count < FEWEST_INTERVALS:
        raise InputError(
            f"{log.place}: {counted(count, 'usable interval')} {by_number(count, 'is', 'are')} too few to calibrate "
            f"from; give a log with at least {FEWEST_INTERVALS} in which requests "
            f"run{''.join(f'; {note}' for note in log.notes)}"
        )
    ordered = sorted(log.intervals, key=lambda interval: interval.running)
    edges = np.linspace(0, count, min(GROUPS, count // 5) + 1).astype(int).tolist()
    return [
        Group(ordered[first].running, ordered[last - 1].running, tuple(ordered[first:last]))
        for first, last in pairwise(edges)
    ]


def has_one_load(groups: Sequence[Group]) -> bool:
    """Return whether all intervals have about as many requests running."""
    return groups[-1].most < EVEN_LOADS * groups[0].fewest


class StepFit:
    """Fits parameters to the groups of a log; positions are logarithms of the values over their priors."""

    def __init__(
        self,
        log: EngineLog,
        parameters: Sequence[Parameter],
        predictor: Callable[[dict[str, float]], Predictor],
        cache_tokens: int,
        budget_tokens: int,
        context_tokens: float = 0.0,
    ) -> None:
        """``predictor`` builds one from the values of coefficients, ``cache_tokens`` is what a whole cache holds, and a
        step computes at most ``budget_tokens`` tokens.  ``context_tokens`` is the mean context if the log does not tell
        the cache's usage; 0: it is fitted too.
        """
        self.groups = groups_of(log)
        is_open = not (log.has_usage or context_tokens)
        self.parameters = [*parameters, *((CONTEXT_PRIOR,) if is_open else ())]
        self._context_tokens = context_tokens
        self._log = log
        self._predictor = predictor
        self._cache_tokens = cache_tokens
        self._budget_tokens = budget_tokens

    def values(self, position: FloatArray) -> dict[str, float]:
        """Return the coefficients at a position, and ``CONTEXT`` where it is fitted."""
        pairs = zip(self.parameters, position.tolist(), strict=True)
        return {parameter.name: parameter.prior * math.exp(offset) for parameter, offset in pairs}

    def residuals(self, position: FloatArray) -> FloatArray:
        """Return every group's mean logarithm of predicted over measured step."""
        values = self.values(position)
        context = values.pop(CONTEXT, 0.0) or self._mean_context()
        predictor = self._predictor(values)
        chunk = self._chunk_tokens(context)
        logs = [
            [
                math.log(self._step_s(predictor, interval, context, chunk) / interval.step_s)
                for interval in group.intervals
            ]
            for group in self.groups
        ]
        return np.array([float(np.mean(group)) for group in logs])

    def fit(self, left_out: int = -1, start: FloatArray | None = None) -> FloatArray:
        """Return the best position, by Gauss-Newton steps; without the group ``left_out`` if that is one."""
        position = np.zeros(len(self.parameters)) if start is None else start.copy()
        widths = np.array([parameter.width for parameter in self.parameters])
        chosen = np.array([index for index in range(len(self.groups)) if index != left_out])
        for _ in range(ITERATIONS):
            residual = self.residuals(position)[chosen]
            jacobian = np.empty((len(chosen), len(position)))
            for index in range(len(position)):
                moved = position.copy()
                moved[index] += DIFFERENCE_LOG
                jacobian[:, index] = (self.residuals(moved)[chosen] - residual) / DIFFERENCE_LOG
            huber = np.sqrt(1.0 / np.maximum(1.0, np.abs(residual) / HUBER_LOG))
            matrix = np.vstack([jacobian * huber[:, None], np.diag(PRIOR_WEIGHT / widths)])
            target = -np.concatenate([residual * huber, PRIOR_WEIGHT * position / widths])
            step = np.linalg.lstsq(matrix, target, rcond=None)[0]
            largest = float(np.abs(step).max())
            position = position + step * min(1.0, LARGEST_STEP_LOG / largest if largest else 1.0)
            if largest < DIFFERENCE_LOG / 10:
                break
        return position

    def errors_left_out(self, position: FloatArray) -> FloatArray:
        """Return every group's error in percent where it is left out of the fit."""
        found = [self.residuals(self.fit(index, position))[index] for index in range(len(self.groups))]
        errors: FloatArray = np.abs(np.expm1(np.array(found))) * 100.0
        return errors

    def _mean_context(self) -> float:
        """Return the mean tokens in the cache per running request."""
        if not self._log.has_usage:
            return self._context_tokens
        held = [interval.usage_ratio * self._cache_tokens / interval.running for interval in self._log.intervals]
        return float(np.mean(held))

    def _chunk_tokens(self, context: float) -> float:
        """Return the tokens of a whole prompt that are computed, and at most a step's."""
        ratio = self._log.prompt_ratio
        length = context / (1.0 + 0.5 / ratio) if ratio else context
        return min(max(1.0, length * (1.0 - self._log.hit_ratio)), float(self._budget_tokens))

    def _step_s(self, predictor: Predictor, interval: Interval, context: float, chunk: float) -> float:
        """Return the mean predicted step of an interval: steps with a prompt and steps without."""
        decodes = max(1, round(interval.running))
        held = interval.usage_ratio * self._cache_tokens if self._log.has_usage else interval.running * context
        plain = predictor.step_ns(BatchShape(decodes=decodes, decode_kv_tokens=round(held)))
        tokens = interval.prompt_tokens
        if tokens <= 0:
            return plain / NS_PER_S
        tokens = min(tokens, float(self._budget_tokens))
        prompts = min(MOST_PROMPTS, max(1, round(tokens / chunk)))
        each = max(1, round(chunk if tokens <= chunk else tokens / prompts))
        share = min(1.0, tokens / (prompts * each))
        shape = BatchShape(
            decodes=decodes, decode_kv_tokens=round(held), prefills=[(each, 0)] * prompts, completed_prefills=prompts
        )
        return (share * predictor.step_ns(shape) + (1.0 - share) * plain) / NS_PER_S
