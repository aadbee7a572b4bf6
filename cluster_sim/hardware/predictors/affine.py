"""Step times that are affine in the cached tokens: the one elementwise kernel of the analytic predictors.

Design: a step of n tokens and s sequences costs ``tokens(n) + sequences(s) + slope * kv`` plus, with prefills in the
batch, ``mix + sum of chunk(c, kv)``.  The first two are cached per count.  A decode step is computed in integers of
2^-20 ns, rounded half up: one multiplication, one addition and one shift, exact in any order, so ``step_ns`` and
``decode_run_ns`` cannot disagree, and a run costs three passes over a vector.
Layers with a sliding window read at most ``window`` tokens a sequence; their part
is ``slope * min(kv, B * window)`` over the batch, which is exact when sequences are equally long and an upper bound
otherwise.  Where a decode's query heads each read the cache for themselves, a cached token costs more once the cache of
one key head no longer stays in the GPU's L2: from ``resident_tokens`` on ``spilled_slopes`` hold for all of it.

A step takes no less than the CPU does (``cpu_cost``), which depends on the sequences alone.

Floor: every term is non-negative and no smaller for more tokens or sequences, and every batch has a token and a
sequence, so a decode step of one sequence with an empty cache is a lower bound.
"""

import math
from abc import abstractmethod
from typing import Final, NamedTuple

import numpy as np

from cluster_sim.hardware.batch_shape import BatchShape, Int64Array
from cluster_sim.hardware.predictors.predictor_interface import MeasuredSteps, Predictor

FRACTION_BITS: Final = 20
"""Decode steps are sums of integers of 2^-20 ns; a step of an hour still fits 63 bits."""
MIN_RUN_STEPS: Final = 512
"""Least length of the vectors kept per number of decodes."""
_ONE: Final = 1 << FRACTION_BITS
_HALF: Final = _ONE >> 1
_SHIFT: Final = np.array(FRACTION_BITS, np.int64)
"""An array, since numpy takes twice as long to add or shift by a number, which it makes an array of."""
_shifted: Final = np.right_shift


class _Slopes(NamedTuple):
    """ns per cached token of layers with full attention and of layers with a sliding window, of one stage."""

    decode: tuple[float, float]
    spilled: tuple[float, float]
    """The same where the cache does not stay in L2."""
    mixed: tuple[float, float]
    """Of steps with prefills."""
    mixed_spilled: tuple[float, float]
    resident_tokens: float


class AffinePredictor(Predictor):
    """A predictor built from non-negative, non-decreasing terms; subclasses give the terms in ns as floats."""

    def __init__(self, stages: int, window_tokens: int = 0, is_measured: bool = False) -> None:
        """``window_tokens`` is the sliding window, 0 without one.

        Coefficients know no range of contexts, so all steps lie inside the measured region, or, unless ``is_measured``,
        none.
        """
        super().__init__()
        self.stages = stages
        self._window = window_tokens
        self.measured = MeasuredSteps.ALL if is_measured else MeasuredSteps.NONE
        self._tokens: list[dict[int, float]] = [{} for _ in range(stages)]
        self._sequences: list[dict[int, float]] = [{} for _ in range(stages)]
        self._decode: list[dict[int, int]] = [{} for _ in range(stages)]
        """Constant part of a decode step by sequences, in 2^-20 ns, the half for rounding included."""
        self._slopes: list[_Slopes | None] = [None] * stages
        self._fine_slopes: list[tuple[int, int, int]] = [(0, 0, 0)] * stages
        """The slopes in 2^-20 ns: of full layers, of windowed ones, and of these beyond L2."""
        self._resident: list[float] = [math.inf] * stages
        self._growth: list[dict[int, Int64Array]] = [{} for _ in range(stages)]
        self._cpu: list[dict[int, int]] = [{} for _ in range(stages)]
        """The CPU's part of a step by sequences, in 2^-20 ns."""
        self._has_cpu_cost = type(self).cpu_cost is not AffinePredictor.cpu_cost
        self._is_paced = False
        """Whether the CPU has any."""

    @abstractmethod
    def tokens_cost(self, tokens: int, stage: int) -> float:
        """Return what depends on the tokens computed (at least 1), ns."""

    def routed_cost(self, tokens: int, routed_tokens: int, stage: int) -> float:  # noqa: ARG002
        """Return ``tokens_cost`` if all data-parallel ranks together have ``routed_tokens`` tokens, ns."""
        return self.tokens_cost(tokens, stage)

    @abstractmethod
    def sequences_cost(self, sequences: int, stage: int) -> float:
        """Return what depends on the sequences that get logits (at least 1), ns."""

    @abstractmethod
    def kv_slopes(self, stage: int) -> tuple[float, float]:
        """Return ns per cached token of layers with full attention and of layers with a sliding window."""

    def mixed_slopes(self, stage: int) -> tuple[float, float]:
        """Return the same for steps with prefills, never less."""
        return self.kv_slopes(stage)

    def resident_tokens(self, stage: int) -> float:  # noqa: ARG002
        """Return how many cached tokens of one key head stay in L2."""
        return math.inf

    def spilled_slopes(self, stage: int, *, is_mixed: bool) -> tuple[float, float]:
        """Return ``mixed_slopes`` or ``kv_slopes`` where the cache does not stay in L2, never less; without prefills
        full layers have the same.
        """
        return self.mixed_slopes(stage) if is_mixed else self.kv_slopes(stage)

    @abstractmethod
    def chunk_cost(self, chunk_tokens: int, kv_tokens: int, stage: int) -> float:
        """Return the attention of one prefill chunk over itself and the cache before it, ns."""

    def mix_cost(self, stage: int) -> float:  # noqa: ARG002
        """Return what any prefill in the batch adds, ns."""
        return 0.0

    def cpu_cost(self, sequences: int, stage: int) -> float:  # noqa: ARG002
        """Return what the CPU takes beside the GPU for a step of ``sequences`` sequences, ns; never less for more."""
        return 0.0

    def encoder_cost(self, encoder_tokens: int, stage: int) -> float:  # noqa: ARG002
        """Return what multimodal encoder tokens add, ns."""
        return 0.0

    def step_ns(self, shape: BatchShape, stage: int = 0) -> int:
        """Return the duration of one step of ``stage`` in ns."""
        decodes = shape.decodes
        if not (shape.prefills or shape.draft_tokens or shape.encoder_tokens or shape.routed_tokens):
            base = self._decode[stage].get(decodes)
            if base is None:
                base = self._decode_base(decodes, stage)
            full, windowed, spilled = self._fine_slopes[stage]
            fine = base + shape.decode_kv_tokens * full
            if windowed:
                read = min(shape.decode_kv_tokens, decodes * self._window)
                fine += read * (windowed if read <= self._resident[stage] else spilled)
            if self._is_paced and fine < self._cpu[stage][decodes]:
                fine = self._cpu[stage][decodes]
            return fine >> FRACTION_BITS or 1
        # Rounded exactly as a decode step is, or the floor could lie one above a prefill of the same cost.
        return (round(self._mixed(shape, stage) * _ONE) + _HALF) >> FRACTION_BITS or 1

    def decode_run_ns(self, decodes: int, kv_tokens: int, steps: int, stage: int = 0) -> Int64Array:
        """Return the durations of ``steps`` consecutive decode-only steps, int64[steps]."""
        base = self._decode[stage].get(decodes)
        if base is None:
            base = self._decode_base(decodes, stage)
        full, windowed, spilled = self._fine_slopes[stage]
        growth = self._growth[stage].get(decodes)
        if growth is None or len(growth) < steps:
            growth = self._grow(decodes, steps, stage)
        first = base + kv_tokens * full
        fine: Int64Array = growth[:steps] + first
        if windowed:
            iota = np.arange(steps)
            read: Int64Array = np.minimum(iota * decodes + kv_tokens, decodes * self._window)
            if spilled == windowed:
                fine += read * windowed
            else:
                fine += np.where(read <= self._resident[stage], read * windowed, read * spilled)
        if self._is_paced and first < self._cpu[stage][decodes]:  # No later step takes the GPU less than the first.
            np.maximum(fine, self._cpu[stage][decodes], out=fine)
        _shifted(fine, _SHIFT, fine)
        if base < _ONE:
            np.maximum(fine, 1, out=fine)
        return fine

    def _grow(self, decodes: int, steps: int, stage: int) -> Int64Array:
        """Return what step i of a run costs more than its first, in 2^-20 ns, for at least ``steps`` steps."""
        grown: Int64Array = np.arange(max(steps, MIN_RUN_STEPS), dtype=np.int64) * (
            decodes * self._fine_slopes[stage][0]
        )
        self._growth[stage][decodes] = grown
        return grown

    def floor_ns(self, stage: int = 0) -> int:
        """Return the duration of a decode step of one sequence with an empty cache."""
        return max(self._decode_base(1, stage), self._cpu[stage][1]) >> FRACTION_BITS or 1

    def _decode_base(self, decodes: int, stage: int) -> int:
        """Fill the caches for ``decodes`` sequences of one token; return the constant part in 2^-20 ns."""
        if self._slopes[stage] is None:
            slopes = self._slopes[stage] = _Slopes(
                self.kv_slopes(stage),
                self.spilled_slopes(stage, is_mixed=False),
                self.mixed_slopes(stage),
                self.spilled_slopes(stage, is_mixed=True),
                self.resident_tokens(stage),
            )
            full, windowed, spilled = (round(ns * _ONE) for ns in (*slopes.decode, slopes.spilled[1]))
            self._fine_slopes[stage] = (full, windowed, spilled)
            self._resident[stage] = slopes.resident_tokens
        base_ns = self._token_part(max(decodes, 1), stage) + self._sequence_part(max(decodes, 1), stage)
        base = round(base_ns * _ONE) + _HALF
        self._decode[stage][decodes] = base
        cpu_ns = self.cpu_cost(max(decodes, 1), stage)
        self._cpu[stage][decodes] = round(cpu_ns * _ONE) + _HALF
        self._is_paced = self._is_paced or cpu_ns > 0
        return base

    def _token_part(self, tokens: int, stage: int) -> float:
        cost = self._tokens[stage].get(tokens)
        if cost is None:
            cost = self._tokens[stage][tokens] = self.tokens_cost(tokens, stage)
        return cost

    def _sequence_part(self, sequences: int, stage: int) -> float:
        cost = self._sequences[stage].get(sequences)
        if cost is None:
            cost = self._sequences[stage][sequences] = self.sequences_cost(sequences, stage)
        return cost

    def _mixed(self, shape: BatchShape, stage: int) -> float:
        """Return the duration of a step with prefills, drafts or encoder tokens, ns.

        Every prefill chunk gets logits, also one that does not end its prompt: vLLM computes and drops them.
        """
        if self._slopes[stage] is None:
            self._decode_base(1, stage)
        slopes = self._slopes[stage]
        assert slopes is not None
        within, beyond = (slopes.mixed, slopes.mixed_spilled) if shape.prefills else (slopes.decode, slopes.spilled)
        computed = shape.decodes + shape.draft_tokens
        sampled = computed + len(shape.prefills)
        for chunk, _ in shape.prefills:
            computed += chunk
        if shape.routed_tokens:
            ns = self.routed_cost(computed or 1, shape.routed_tokens, stage)
        else:
            ns = self._token_part(computed or 1, stage)
        ns += self._sequence_part(sampled or 1, stage)
        resident = slopes.resident_tokens
        ns += shape.decode_kv_tokens * (within if shape.decode_kv_tokens <= resident else beyond)[0]
        if within[1]:
            read = min(float(shape.decode_kv_tokens), float(shape.decodes * self._window))
            ns += read * (within if read <= resident else beyond)[1]
        if shape.prefills:
            ns += self.mix_cost(stage)
            for chunk, kv in shape.prefills:
                ns += self.chunk_cost(chunk, kv, stage)
        if shape.encoder_tokens:
            ns += self.encoder_cost(shape.encoder_tokens, stage)
        return max(ns, self.cpu_cost(sampled or 1, stage)) if self._has_cpu_cost else ns
