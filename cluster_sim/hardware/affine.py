"""Step times that are affine in the cached tokens: the one elementwise kernel of the analytic predictors.

Design: a step of n tokens and s sequences costs ``tokens(n) + sequences(s) + slope * kv`` plus, with prefills in the
batch, ``mix + sum of chunk(c, kv)``.  The first two are cached per count, so a decode step is one multiplication, one
addition and one rounding (half to even), done in the same order by plain floats in ``step_ns`` and by numpy in
``decode_run_ns``: the bits agree.  Layers with a sliding window read at most ``window`` tokens a sequence; their part
is ``slope * min(kv, B * window)`` over the batch, which is exact when sequences are equally long and an upper bound
otherwise.

Floor: every term is non-negative and no smaller for more tokens or sequences, and every batch has a token and a
sequence, so a decode step of one sequence with an empty cache is a lower bound.
"""

from abc import abstractmethod

import numpy as np
import numpy.typing as npt

from cluster_sim.hardware.predictor import BatchShape, Int64Array, Predictor


class AffinePredictor(Predictor):
    """A predictor built from non-negative, non-decreasing terms; subclasses give the terms in ns as floats."""

    def __init__(self, stages: int, window_tokens: int = 0, is_measured: bool = False) -> None:
        """``window_tokens`` is the sliding window, 0 without one; ``is_measured`` decides what coverage counts."""
        super().__init__()
        self.stages = stages
        self._window = window_tokens
        self._is_measured = is_measured
        self._tokens: list[dict[int, float]] = [{} for _ in range(stages)]
        self._sequences: list[dict[int, float]] = [{} for _ in range(stages)]
        self._decode: list[dict[int, float]] = [{} for _ in range(stages)]
        self._slopes: list[tuple[float, float] | None] = [None] * stages
        self._iota: npt.NDArray[np.float64] = np.arange(1024, dtype=np.float64)

    @abstractmethod
    def tokens_cost(self, tokens: int, stage: int) -> float:
        """Return what depends on the tokens computed (at least 1), ns."""

    @abstractmethod
    def sequences_cost(self, sequences: int, stage: int) -> float:
        """Return what depends on the sequences that get logits (at least 1), ns."""

    @abstractmethod
    def kv_slopes(self, stage: int) -> tuple[float, float]:
        """Return ns per cached token of layers with full attention and of layers with a sliding window."""

    @abstractmethod
    def chunk_cost(self, chunk_tokens: int, kv_tokens: int, stage: int) -> float:
        """Return the attention of one prefill chunk over itself and the cache before it, ns."""

    def mix_cost(self, stage: int) -> float:  # noqa: ARG002
        """Return what any prefill in the batch adds, ns."""
        return 0.0

    def encoder_cost(self, encoder_tokens: int, stage: int) -> float:  # noqa: ARG002
        """Return what multimodal encoder tokens add, ns."""
        return 0.0

    def step_ns(self, shape: BatchShape, stage: int = 0) -> int:
        """Return the duration of one step of ``stage`` in ns."""
        decodes = shape.decodes
        if not shape.prefills and not shape.draft_tokens and not shape.encoder_tokens:
            base = self._decode[stage].get(decodes)
            if base is None:
                base = self._decode_base(decodes, stage)
            slopes = self._slopes[stage]
            assert slopes is not None
            kv = float(shape.decode_kv_tokens)
            ns = kv * slopes[0] + base
            if slopes[1]:
                ns = min(kv, float(decodes * self._window)) * slopes[1] + ns
            self._count(1)
            return round(ns) or 1
        self._count(1)
        return round(self._mixed(shape, stage)) or 1

    def decode_run_ns(self, decodes: int, kv_tokens: int, steps: int, stage: int = 0) -> Int64Array:
        """Return the durations of ``steps`` consecutive decode-only steps, int64[steps]."""
        base = self._decode[stage].get(decodes)
        if base is None:
            base = self._decode_base(decodes, stage)
        slopes = self._slopes[stage]
        assert slopes is not None
        if steps > self._iota.shape[0]:
            self._iota = np.arange(max(steps, 2 * self._iota.shape[0]), dtype=np.float64)
        kv = self._iota[:steps] * decodes
        kv += kv_tokens
        window_ns = None
        if slopes[1]:
            window_ns = np.minimum(kv, float(decodes * self._window))
            window_ns *= slopes[1]
        kv *= slopes[0]
        kv += base
        if window_ns is not None:
            kv += window_ns
        self._count(steps)
        np.rint(kv, kv)
        durations = kv.astype(np.int64)
        if base < 1.0:
            np.maximum(durations, 1, durations)
        return durations

    def floor_ns(self, stage: int = 0) -> int:
        """Return the duration of a decode step of one sequence with an empty cache."""
        return round(self._decode_base(1, stage)) or 1

    def _decode_base(self, decodes: int, stage: int) -> float:
        """Fill the caches for ``decodes`` sequences of one token; return the constant part in ns."""
        if self._slopes[stage] is None:
            self._slopes[stage] = self.kv_slopes(stage)
        base = self._token_part(max(decodes, 1), stage) + self._sequence_part(max(decodes, 1), stage)
        self._decode[stage][decodes] = base
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
        """The duration of a step with prefills, drafts or encoder tokens, ns.

        Every prefill chunk gets logits, also one that does not end its prompt: vLLM computes and drops them.
        """
        slopes = self._slopes[stage]
        if slopes is None:
            slopes = self._slopes[stage] = self.kv_slopes(stage)
        sampled = shape.decodes + shape.draft_tokens + len(shape.prefills)
        ns = self._token_part(max(shape.tokens, 1), stage) + self._sequence_part(max(sampled, 1), stage)
        ns += shape.decode_kv_tokens * slopes[0]
        if slopes[1]:
            ns += min(float(shape.decode_kv_tokens), float(shape.decodes * self._window)) * slopes[1]
        if shape.prefills:
            ns += self.mix_cost(stage)
            for chunk, kv in shape.prefills:
                ns += self.chunk_cost(chunk, kv, stage)
        if shape.encoder_tokens:
            ns += self.encoder_cost(shape.encoder_tokens, stage)
        return ns

    def _count(self, steps: int) -> None:
        if self._is_measured:
            self.coverage.inside += steps
        else:
            self.coverage.extrapolated += steps
