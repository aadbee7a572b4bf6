"""The predictor's contract: what one step of one pipeline stage costs.

``step_ns`` of a decode-only batch *is* ``decode_run_ns(..., steps=1)``: one elementwise kernel in one order of
operations, no BLAS, no fast-math, one rounding (half to even) per step, so that macro-steps and single steps agree to
the bit on one CPU family.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]


@dataclass(slots=True)
class BatchShape:
    """What a predictor may know of a batch.

    ``kv`` figures count tokens already in the cache *before* the step, so a decoding request with 100 prompt tokens and
    3 generated ones, whose third token's KV is not yet written, counts 102.
    """

    decodes: int = 0
    """Requests that compute one token (plus drafts)."""
    decode_kv_tokens: int = 0
    """Sum over the decodes of tokens in the cache."""
    prefills: list[tuple[int, int]] = field(default_factory=list)
    """(chunk tokens, tokens already in the cache) of every prefill chunk, in batch order."""
    completed_prefills: int = 0
    """How many of the prefills end their prompt in this step and so sample a token."""
    draft_tokens: int = 0
    """Speculative tokens verified in this step, over all decodes."""
    encoder_tokens: int = 0
    """Multimodal encoder tokens computed in this step."""
    routed_tokens: int = 0
    """Tokens of all data-parallel ranks in this step; 0 where every rank has as many as this one."""
    ranks: tuple["BatchShape", ...] = ()
    """The parts of data-parallel ranks that step together, whose sums the other fields are; empty for one rank."""

    @property
    def tokens(self) -> int:
        """Tokens computed in this step; where ranks step together, those of the rank that has most."""
        if self.ranks:
            return max(rank.tokens for rank in self.ranks)
        return self.decodes + self.draft_tokens + sum(chunk for chunk, _ in self.prefills)


class MeasuredSteps(Enum):
    """The steps that lie inside the region in which a predictor's source was measured; all others are extrapolated."""

    ALL = "all"
    NONE = "none"
    SOME = "some"
    """Those that ``is_inside`` and ``steps_inside`` tell."""


class Predictor(ABC):
    """Predicts step durations for one (device, model, TP, PP, dtype, engine version).

    Answers are pure functions of their arguments, at least ``floor_ns(stage)``, and at least 1.
    """

    stages: int = 1
    """Pipeline stages of the replica."""
    ranks: int = 1
    """Data-parallel ranks that step together."""
    measured: MeasuredSteps = MeasuredSteps.NONE
    is_calibrated: bool = False
    """False for data-sheet figures alone; the run's table then says "uncalibrated"."""
    label: str = ""
    """Shown in tables, for example "uncalibrated roofline"."""
    frontend_ns: int = 0
    """Constant time a request spends in the API server before the scheduler can see it."""
    frontend_ns_per_token: float = 0.0
    """The same, per prompt token."""

    def __init__(self) -> None:
        self.error_band_percent: dict[str, float] = {}
        """Mean absolute errors on data left out of the fit, by metric, in percent; empty where none were learnt."""

    @abstractmethod
    def step_ns(self, shape: BatchShape, stage: int = 0) -> int:
        """Return the duration of one step of ``stage`` in ns."""

    @abstractmethod
    def decode_run_ns(self, decodes: int, kv_tokens: int, steps: int, stage: int = 0) -> Int64Array:
        """Return the durations of ``steps`` consecutive decode-only steps, int64[steps].

        Step i runs with ``decodes`` requests and ``kv_tokens + i * decodes`` tokens in the cache.
        """

    def joint_run_ns(self, loads: Sequence[tuple[int, int]], steps: int) -> Int64Array | None:  # noqa: ARG002
        """Return the durations of ``steps`` decode-only steps that data-parallel ranks make together, int64[steps].

        ``loads`` has the requests of each rank with work and their tokens in the cache.  None where there are no ranks,
        or only ``step_ns`` can tell.
        """
        return None

    def is_inside(self, shape: BatchShape, stage: int = 0) -> bool:  # noqa: ARG002
        """Return whether a step of one rank lies inside the measured region."""
        return self.measured is MeasuredSteps.ALL

    def steps_inside(self, decodes: int, kv_tokens: int, steps: int, stage: int = 0) -> int:  # noqa: ARG002
        """Return how many of ``steps`` consecutive decode-only steps lie inside the measured region."""
        return steps if self.measured is MeasuredSteps.ALL else 0

    @abstractmethod
    def floor_ns(self, stage: int = 0) -> int:
        """Return a lower bound of every step of ``stage`` (d_min): tight floors are lookahead."""

    def stage_link_ns(self, tokens: int, stage: int) -> int:  # noqa: ARG002 - subclasses use them
        """Return the time to send the activations of ``tokens`` tokens from ``stage`` to the next; >= 0."""
        return 0
