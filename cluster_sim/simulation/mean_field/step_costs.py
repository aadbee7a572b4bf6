"""Step times of one pool for the mean-field estimate: tables over batch sizes and contexts, from the pool's predictor.

Design.  A step of n decodes takes d(n, c) with c tokens in the cache of each.  The prompts of a load come in *units*:
a prompt, or as much of it as fits the token budget of a step.  The first one in a step adds ``first(n)``, averaged over
the lengths of the load, since it may hide behind the reading of the weights; each one more adds ``further(n)``.  With q
units a step on average, of which a share s of the steps has any, the mean step takes

    d(n, c) + s first(n) + (q - s) further(n).

Units arrive independently of the steps: where a step takes any number m of them, s is 1 - exp(-q), as of a Poisson
number; where it takes one, the next waits for the next step, and s is q.  In between s is weighted by 1 / m.

An engine that computes prompts in steps of their own adds the whole step.  Replicas with pipeline stages are not
covered: how far prompts hold up the other stages' batches depends on their order.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from cluster_sim.hardware.batch_shape import BatchShape
from cluster_sim.hardware.predictors.predictor_interface import Predictor
from cluster_sim.units import NS_PER_S

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LENGTHS: Final = 12
"""Lengths of prompts over which the cost of one is averaged."""
SIZES: Final = 28
"""Batch sizes at which the cost of a prompt is computed."""
CONTEXTS: Final = (0.25, 1.0, 2.5)
"""Contexts at which decodes are timed, over the mean, beside 1 token and the longest."""
NEWTON_STEPS: Final = 4
LEAST_SLOPE: Final = 1e-3
"""Below it a step's prompts take as long as they take to come: the token budget decides."""


class StepCosts:
    """Mean step times of one replica in seconds; a pure function of the load's lengths and the predictor."""

    def __init__(
        self,
        predictor: Predictor,
        prompt_tokens: Ints,
        output_tokens: Ints,
        budget_tokens: int,
        most_running: int,
        *,
        mixes: bool,
    ) -> None:
        """``budget_tokens`` is that of a step, ``mixes`` says whether a step has decodes and prompts together."""
        self._predictor = predictor
        self._mixes = mixes
        self._budget = max(1, min(budget_tokens, int(prompt_tokens.max()) * 64))
        self._context = float(prompt_tokens.mean() + output_tokens.mean() / 2)
        longest = float((prompt_tokens + output_tokens).max())
        points = {1.0, longest, *(share * self._context for share in CONTEXTS)}
        self._contexts = np.array(sorted(point for point in points if point <= longest))
        self._decode = np.full((most_running + 1, len(self._contexts)), np.nan)
        self._lengths = np.quantile(prompt_tokens, (np.arange(LENGTHS) + 0.5) / LENGTHS).astype(np.int64)
        self._lengths = np.maximum(self._lengths, 1)
        self.unit_tokens = float(np.minimum(prompt_tokens, self._budget).mean())
        """Mean tokens of a unit."""
        sizes = np.unique(np.geomspace(1, most_running, SIZES).astype(np.int64))
        self._sizes = np.array([0, *sizes.tolist()], np.float64)
        costs = [self._unit_costs(int(size)) for size in self._sizes]
        self._first = np.array([first for first, _ in costs])
        self._further = np.array([further for _, further in costs])

    def decode_s(self, running: Ints, context_tokens: Floats) -> Floats:
        """Return the time of a step without prompts, by the decodes and the mean tokens in the cache of each."""
        is_new = np.isnan(self._decode[running, 0])
        if is_new.any():
            for size in np.unique(running[is_new]).tolist():
                self._decode[size] = [self._step_s(size, context) for context in self._contexts]
        if len(self._contexts) == 1:
            return np.asarray(self._decode[running, 0])
        right = np.clip(np.searchsorted(self._contexts, context_tokens), 1, len(self._contexts) - 1)
        low, high = self._contexts[right - 1], self._contexts[right]
        share = np.clip((context_tokens - low) / (high - low), 0.0, 1.0)
        low_s, high_s = self._decode[running, right - 1], self._decode[running, right]
        return np.asarray(low_s + (high_s - low_s) * share)

    def first_s(self, running: Floats) -> Floats:
        """Return what the first unit of a step adds."""
        times: Floats = np.interp(running, self._sizes, self._first)
        return times

    def further_s(self, running: Floats) -> Floats:
        """Return what each further unit of a step adds."""
        times: Floats = np.interp(running, self._sizes, self._further)
        return times

    def prompt_steps(self, units: Floats, most: Floats) -> Floats:
        """Return how many steps of their own the prompts take beside each step of the decodes."""
        return np.zeros_like(units) if self._mixes else prompt_share(units, most)

    def most_units(self, running: Floats) -> Floats:
        """Return how many units the token budget of a step takes."""
        left = self._budget - (running if self._mixes else 0.0)
        units: Floats = np.maximum(left / self.unit_tokens, 1.0)
        return units

    def _unit_costs(self, running: int) -> tuple[float, float]:
        """Return what the first and what each further unit adds to a step of so many decodes."""
        base = self._step_s(running, self._context) if self._mixes and running else 0.0
        decodes = running if self._mixes else 0
        added, tokens = 0.0, 0
        room = max(1, self._budget - decodes)
        for length in self._lengths.tolist():
            for start in range(0, length, room):
                chunk = min(room, length - start)
                added += self._step_s(decodes, self._context, ((chunk, start),)) - base
            tokens += length
        first = added / tokens * self.unit_tokens
        mean = max(1, round(self.unit_tokens))
        if 2 * mean <= room:
            one, two = (self._step_s(decodes, self._context, ((mean, 0),) * count) for count in (1, 2))
            return first, max(0.0, two - one)
        # Two do not fit: what the second half of one adds is what more of it would.
        half = max(1, mean // 2)
        less, more = (self._step_s(decodes, self._context, ((size, 0),)) for size in (half, mean))
        return first, max(0.0, more - less) * mean / max(mean - half, 1)

    def _step_s(self, decodes: int, context: float, prompts: tuple[tuple[int, int], ...] = ()) -> float:
        """Return the time of one step; ``prompts`` are (tokens, tokens of it in the cache already)."""
        shape = BatchShape(decodes, round(decodes * context), list(prompts), len(prompts))
        return self._predictor.step_ns(shape) / NS_PER_S if shape.tokens else 0.0


def mean_step_s(decode_s: Floats, first_s: Floats, further_s: Floats, units: Floats, most: Floats) -> Floats:
    """Return the mean step with ``units`` in each on average, of which ``most`` fit into one."""
    share = prompt_share(units, most)
    return decode_s + share * first_s + (units - share) * further_s


def prompt_share(units: Floats, most: Floats) -> Floats:
    """Return the share of the steps that have a unit."""
    return -np.expm1(-units) * (1.0 - 1.0 / most) + np.minimum(units, 1.0) / most


def units_a_step(decode_s: Floats, first_s: Floats, further_s: Floats, rate_per_s: Floats, most: Floats) -> Floats:
    """Return the mean units of a step at a rate of units, at most ``most``: the root of q = rate x step(q)."""
    units = np.minimum(rate_per_s * decode_s, most)
    for _ in range(NEWTON_STEPS):
        excess = units - rate_per_s * mean_step_s(decode_s, first_s, further_s, units, most)
        steepness = np.exp(-units) * (1.0 - 1.0 / most) + (units < 1.0) / most
        slope = 1.0 - rate_per_s * (further_s + (first_s - further_s) * steepness)
        units = np.where(slope > LEAST_SLOPE, units - excess / np.maximum(slope, LEAST_SLOPE), most)
        units = np.clip(units, 0.0, most)
    return units
