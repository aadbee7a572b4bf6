"""One step of an agentic session: its options, and the sampler of its calls."""

from typing import Literal

import numpy as np
from pydantic import Field

from cluster_sim.options import BoundedName, ConfigModel
from cluster_sim.workload.feedback.think_times import think_times_ns
from cluster_sim.workload.lengths.length_sampler import Lengths, LengthSampler, build_lengths
from cluster_sim.workload.sampling.distribution import Distribution, build_quantile
from cluster_sim.workload.sampling.quantile import Quantile, to_tokens
from cluster_sim.workload.sampling.random_streams import Ints, Stream


class AgentStep(ConfigModel):
    """One model call of an agentic session."""

    name: BoundedName = Field(min_length=1, description="Name that later steps refer to.")
    after: tuple[str, ...] = Field(default=(), description="Steps that must have ended; none: starts the session.")
    wait_s: Distribution | None = Field(default=None, description="Tool time after the last of them, seconds.")
    lengths: Lengths = Field(description="New prompt tokens and output tokens.")
    context: Literal["none", "first", "all"] = Field(
        default="all",
        description="What the prompt carries: nothing, the first parent's context and output, or all outputs.",
    )
    repeat: Distribution | None = Field(
        default=None, description="Branches of this step that run side by side; rounded, at least 1. Absent: one."
    )
    probability: float = Field(default=1.0, gt=0, le=1, description="Probability that the step happens.")


class StepSampler:
    """One step of the graph with its samplers; it owns as many slots as it may have branches."""

    def __init__(self, options: AgentStep, index: int, first_slot: int, most: int, stream: Stream) -> None:
        self.options = options
        self.index = index
        self.first_slot = first_slot
        self.slots = most if options.repeat is not None else 1
        self._most = most
        self._lengths: LengthSampler = build_lengths(options.lengths, stream.child("lengths"))
        self._wait: Quantile | None = build_quantile(options.wait_s) if options.wait_s is not None else None
        self._repeat: Quantile | None = build_quantile(options.repeat) if options.repeat is not None else None
        self._streams = {name: stream.child(name) for name in ("wait", "repeat", "happens")}

    @property
    def least_wait_s(self) -> float:
        """The shortest tool wait."""
        return self._wait.least if self._wait is not None else 0.0

    def branches(self, first: int, count: int) -> Ints:
        """Return how many branches the step has in each of some sessions; 0 if it does not happen."""
        result = np.ones(count, dtype=np.int64)
        if self._repeat is not None:
            drawn = to_tokens(self._repeat.values(self._streams["repeat"].uniforms(first, count)))
            result = np.minimum(drawn, self._most)
        happens = self._streams["happens"].uniforms(first, count) < self.options.probability
        return np.where(happens, result, 0)

    def draw(self, first: int, count: int, floor: int) -> tuple[Ints, Ints, Ints]:
        """Return prompt, output and wait of every slot, shaped (sessions, slots)."""
        start, total = first * self.slots, count * self.slots
        prompt, output = self._lengths.draw(start, total)
        wait = np.full(total, floor, dtype=np.int64)
        if self._wait is not None:
            wait = think_times_ns(self._wait.values(self._streams["wait"].uniforms(start, total)), floor)
        shape = (count, self.slots)
        return prompt.reshape(shape), output.reshape(shape), wait.reshape(shape)
