"""Deadlines for prefill, after the deadline schedulers of Vidur's mnemosyne branch and the vajra engine.

The time a prompt would take alone is estimated with the predictor, cut into chunks that each last about
``target_step_ns``.  A request's deadline span is ``max(multiplier * that time, min_span_ns)``; one stored version of
those schedulers leaves the multiplier out by mistake, the intended form is built here.
"""

from typing import Final, Self

from pydantic import Field

from cluster_sim.hardware.batch_shape import BatchShape
from cluster_sim.hardware.predictors.predictor_interface import Predictor
from cluster_sim.options import GREATEST_WEIGHT, LONGEST_RUN_S, ConfigModel
from cluster_sim.units import NS_PER_MS, NS_PER_S
from cluster_sim.workload.request import Request

_LENGTH_STEP: Final = 64
"""Prompt lengths are rounded up to this many tokens, so that the estimates are few."""


class DeadlineOptions(ConfigModel):
    """Figures behind deadlines."""

    target_step_s: float = Field(
        0.05,
        gt=0,
        le=LONGEST_RUN_S,
        description="Step that a prefill chunk should fill, and in which prefill times are estimated.",
    )
    deadline_multiplier: float = Field(
        1.5, gt=0, le=GREATEST_WEIGHT, description="A deadline's span is this many times the prefill alone."
    )
    min_deadline_s: float = Field(0.5, ge=0, le=LONGEST_RUN_S, description="Shortest span of a deadline.")


class Deadlines:
    """Prefill times, spans and slack of requests on one replica; pure functions of lengths and times."""

    def __init__(
        self,
        predictor: Predictor | None = None,
        target_step_ns: int = 50 * NS_PER_MS,
        multiplier: float = 1.5,
        min_span_ns: int = NS_PER_S // 2,
        max_chunk_tokens: int = 8192,
    ) -> None:
        self.predictor = predictor
        self.target_step_ns = target_step_ns
        self.multiplier = multiplier
        self.min_span_ns = min_span_ns
        self.max_chunk_tokens = max_chunk_tokens
        self._prefill_ns: dict[int, int] = {0: 0}

    @classmethod
    def of(cls, options: DeadlineOptions) -> Self:
        """Return the deadlines that options describe; a predictor must follow."""
        return cls(
            None,
            round(options.target_step_s * NS_PER_S),
            options.deadline_multiplier,
            round(options.min_deadline_s * NS_PER_S),
        )

    def chunk_tokens(self, target_ns: int, cached_tokens: int, limit: int, shape: BatchShape | None = None) -> int:
        """Return the longest chunk of at most ``limit`` tokens behind ``cached_tokens`` lasting at most ``target_ns``.

        The first stage's step counts, together with what ``shape`` holds already; the chunk is at least 1 token.
        """
        low, high = 1, max(1, min(limit, self.max_chunk_tokens))
        base = shape or BatchShape()
        predictor = self.predictor
        assert predictor is not None, "a policy that estimates times needs a predictor"

        def fits(chunk: int) -> bool:
            trial = BatchShape(base.decodes, base.decode_kv_tokens, [*base.prefills, (chunk, cached_tokens)])
            return predictor.step_ns(trial) <= target_ns

        if fits(high):
            return high
        while high - low > 1:
            middle = (low + high) // 2
            if fits(middle):
                low = middle
            else:
                high = middle
        return low

    def prefill_ns(self, prompt_tokens: int) -> int:
        """Return the estimated prefill time in ns of ``prompt_tokens`` tokens alone; 0 for none."""
        length = -(-max(0, prompt_tokens) // _LENGTH_STEP) * _LENGTH_STEP
        known = self._prefill_ns.get(length)
        if known is not None:
            return known
        total = done = 0
        while done < length:
            chunk = self.chunk_tokens(self.target_step_ns, done, length - done)
            assert self.predictor is not None
            total += self.predictor.step_ns(BatchShape(prefills=[(chunk, done)]))
            done += chunk
        self._prefill_ns[length] = total
        return total

    def span_ns(self, request: Request) -> int:
        """Return the time from arrival to deadline in ns: the client's if it gave one, else the estimate's."""
        given = request.attributes.deadline_ns
        if given >= 0:
            return max(1, given - request.arrival_ns)
        return max(round(self.multiplier * self.prefill_ns(request.prompt_tokens)), self.min_span_ns)

    def deadline_ns(self, request: Request) -> int:
        """Return the request's absolute deadline in ns."""
        return request.arrival_ns + self.span_ns(request)

    def slack_ratio(self, request: Request, remaining_tokens: int, now_ns: int) -> float:
        """Return (deadline - now - remaining prefill time) / span: 1 is all the time, below 0 is too late."""
        span = self.span_ns(request)
        return (request.arrival_ns + span - now_ns - self.prefill_ns(remaining_tokens)) / span
