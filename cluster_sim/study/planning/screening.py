"""Screening: how many replicas of a layout a load needs, by arithmetic on step times.

Design.  In a steady state a replica that is sent r requests per second of P prompt and O output tokens runs B = r O T
requests at once (Little's law), where T is the time per output token.  A step of B decodes takes d(B); prompts take the
share f = r P c of the time, with c the time that one prompt token adds to a step, so T = d(B) / (1 - f).  The smallest
B that satisfies both is the operating point.  A layout needs as many replicas as keep T within the limits at the peak
rate, with B within the engine's slots and KV cache.  The estimate decides only where the search begins and which
layouts are simulated at all; every verdict comes from simulation.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from cluster_sim.errors import InputError
from cluster_sim.hardware.batch_shape import BatchShape
from cluster_sim.hardware.predictors.predictor_interface import Predictor
from cluster_sim.metrics.objectives import Limit
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.study.planning.load_profile import LoadProfile
from cluster_sim.units import NS_PER_S

MOST_BUSY_RATIO: Final = 0.95
"""Share of the time that prompts may take; beyond it decodes stand still."""
OUT_OF_REACH: Final = 1.1
"""An empty replica that is so far beyond a limit is not simulated."""
HALVINGS: Final = 12
MOST_ITERATIONS: Final = 60
MOST_REPLICAS: Final = 4096
LEAST_CHUNK_TOKENS: Final = 64
MOST_CHUNK_TOKENS: Final = 2048


@dataclass(frozen=True, slots=True)
class Screen:
    """What arithmetic says about a layout under a load."""

    replicas: int | None
    """Replicas that the load needs; None if no number is enough, or nobody knows."""
    limited_by: str
    """What decides the number, or why none is enough."""
    need: float | None = None
    """The same without rounding up: the load in replicas."""
    floor_ratio: float = 0.0
    """The largest latency of an empty replica over its limit."""

    is_beyond_every_fleet: bool = False
    """Whether the most replicas that are looked at do not carry the load."""

    @property
    def is_out_of_reach(self) -> bool:
        """Whether an empty replica breaks a limit already, so that no number is enough."""
        return self.floor_ratio > OUT_OF_REACH


class OperatingPoint:
    """Steady state of one replica of a layout."""

    def __init__(self, predictor: Predictor, limits: SchedulerLimits, load: LoadProfile) -> None:
        self._predictor = predictor
        self._load = load
        self._context = max(1, int(load.prompt_tokens + load.output_tokens / 2))
        kv_tokens = limits.kv_blocks * limits.block_size * limits.data_parallel
        held = load.prompt_tokens + load.output_tokens / 2
        self.most_requests = max(1, int(min(limits.max_num_seqs * limits.data_parallel, kv_tokens / max(held, 1.0))))
        self._chunk = max(
            LEAST_CHUNK_TOKENS, min(MOST_CHUNK_TOKENS, limits.max_num_batched_tokens, int(load.prompt_tokens))
        )
        self._stages = predictor.stages

    def token_s(self, running: float, chunk: int = 0) -> float:
        """Return the time from one token of a request to the next with so many running, seconds."""
        return self._cycle_s(running, chunk)

    def prompt_token_s(self, running: float) -> float:
        """Return the time that one prompt token adds to the steps of the others."""
        added = self._cycle_s(running, self._chunk) - self._cycle_s(running, 0)
        # Stages wait for the chunk's one after the other, which the others' batches cannot fill.
        return max(0.0, added) / self._chunk * (1 + 0.5 * (self._stages - 1))

    def prompt_s(self, tokens: float) -> float:
        """Return the time to compute a prompt on an empty replica."""
        count = max(1, math.ceil(tokens / self._chunk))
        return (
            sum(
                sum(self._stage_s(BatchShape(prefills=[(self._chunk, index * self._chunk)], completed_prefills=1)))
                for index in range(count)
            )
            * tokens
            / (count * self._chunk)
        )

    def solve(self, rate_per_s: float) -> float | None:
        """Return the time per output token at a rate, in seconds; None if the replica cannot keep up."""
        load, running = self._load, 1.0
        for _ in range(MOST_ITERATIONS):
            busy = rate_per_s * load.prompt_tokens * self.prompt_token_s(running)
            if busy >= MOST_BUSY_RATIO:
                return None
            token_s = self.token_s(running) / (1 - busy)
            wanted = max(1.0, rate_per_s * load.output_tokens * token_s)
            if wanted > self.most_requests:
                return None
            if abs(wanted - running) <= 0.01 * running:
                return token_s
            running = wanted
        return token_s

    def _cycle_s(self, running: float, chunk: int) -> float:
        batch = max(1, round(running / self._stages))
        prefills = [(chunk, 0)] if chunk else []
        shape = BatchShape(batch, batch * self._context, prefills, len(prefills))
        stages = self._stage_s(shape)
        if chunk and self._stages > 1:
            rest = self._stage_s(BatchShape(batch, batch * self._context))
            return max(sum(stages), max(stages) + (self._stages - 1) * max(rest))
        return max(sum(stages), self._stages * max(stages))

    def _stage_s(self, shape: BatchShape) -> list[float]:
        return [self._predictor.step_ns(shape, stage) / NS_PER_S for stage in range(self._stages)]


def screen(predictor: Predictor, limits: SchedulerLimits, load: LoadProfile, objectives: Sequence[Limit]) -> Screen:
    """Return what arithmetic says about a layout: the replicas that ``load`` needs within ``objectives``."""
    try:
        point = OperatingPoint(predictor, limits, load)
        floor = _floor(point, load, objectives)
        if floor.is_out_of_reach:
            return floor
        load = load.once_served(point.prompt_s(load.prompt_tokens) + load.output_tokens * point.token_s(1))
        return replace(_needed(point, load, objectives), floor_ratio=floor.floor_ratio)
    except (InputError, NotImplementedError, ValueError, ZeroDivisionError) as error:
        return Screen(None, f"no estimate: {error}")


def _floor(point: OperatingPoint, load: LoadProfile, objectives: Sequence[Limit]) -> Screen:
    """Return how near an empty replica comes to the limits, and what takes that long."""
    alone_s = point.token_s(1)
    prompt_s = point.prompt_s(load.prompt_tokens)
    longest_s = point.prompt_s(load.prompt_tokens_p99)
    floor = Screen(None, "")
    for limit in objectives:
        if limit.metric == "ttft_s":
            is_high = not limit.is_mean and limit.rank >= 0.99
            figure, tokens = (longest_s, load.prompt_tokens_p99) if is_high else (prompt_s, load.prompt_tokens)
            words = f"a prompt of {tokens:,.0f} tokens alone takes {figure:.3g} s"
        elif limit.metric == "e2e_s":
            figure = prompt_s + load.output_tokens * alone_s
            words = f"a request of mean length alone takes {figure:.3g} s"
        else:
            figure = alone_s
            words = f"a token alone takes {figure * 1000:.3g} ms"
        # Means and medians of skewed lengths lie below what mean lengths take.
        slack = 1.0 if figure == alone_s or (not limit.is_mean and limit.rank >= 0.9) else 2.0
        ratio = figure / (slack * limit.limit_s)
        if ratio > floor.floor_ratio:
            floor = Screen(None, f"{words}, and the limit of {limit.name} is {limit.limit_s:g} s", floor_ratio=ratio)
    return floor


def _needed(point: OperatingPoint, load: LoadProfile, objectives: Sequence[Limit]) -> Screen:
    per_token_s = min((limit.limit_s for limit in objectives if limit.metric in ("tpot_s", "itl_s")), default=math.inf)
    whole_s = min((limit.limit_s for limit in objectives if limit.metric == "e2e_s"), default=math.inf)
    replicas, limited_by = 1, "the load is small"
    while replicas <= MOST_REPLICAS:
        token_s = point.solve(load.peak_rate_per_s / replicas)
        if token_s is None:
            limited_by = "throughput: prompts, slots or KV cache of fewer replicas do not suffice at the peak rate"
        elif token_s > per_token_s:
            limited_by = f"the time per output token: {token_s * 1000:.0f} ms with one replica fewer at the peak rate"
        elif load.output_tokens * token_s > whole_s:
            limited_by = "the time to the last token"
        else:
            return Screen(replicas, limited_by, _load_in_replicas(point, load, replicas, per_token_s, whole_s))
        replicas += max(1, replicas // 10)
    return Screen(None, limited_by, is_beyond_every_fleet=True)


def _load_in_replicas(
    point: OperatingPoint, load: LoadProfile, replicas: int, per_token_s: float, whole_s: float
) -> float:
    """Return the smallest part of ``replicas`` that keeps the limits at the peak rate."""
    low, high = 0.0, float(replicas)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        token_s = point.solve(load.peak_rate_per_s / middle)
        if token_s is not None and token_s <= per_token_s and load.output_tokens * token_s <= whole_s:
            high = middle
        else:
            low = middle
    return high
