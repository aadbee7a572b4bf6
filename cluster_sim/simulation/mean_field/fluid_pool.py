"""Replicas of one pool as fluids: prompt tokens that wait, decodes that run, and when each request ends.

Design.  Time goes on in ticks of some steps.  In a tick every replica computes steps of one mean duration, which
follows from its decodes, their contexts and the prompt tokens that are there (``step_costs``).  Each step gives every
decode one token, so a replica's number of steps is a clock: a request that starts to decode at step v ends at step
v + output tokens - 1, whatever else happens.  Prompts are computed in their order, as a stream of tokens.  So a request
costs a few array elements and a tick a few operations on arrays over all replicas, however many steps it has.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from cluster_sim.simulation.mean_field.step_costs import StepCosts, mean_step_s, units_a_step

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

NEVER_S: Final = np.inf
SMALL: Final = 1e-9
TICKS_A_STAY: Final = 4
"""Ticks while a request of mean length decodes."""
LEAST_STEPS: Final = 4
"""Steps of a tick at least."""


class PoolLoad(NamedTuple):
    """The requests of one pool in order of arrival."""

    arrival_s: Floats
    prompt_tokens: Ints
    output_tokens: Ints
    replica: Ints
    """Number within the pool."""


class FluidLimits(NamedTuple):
    """What bounds the requests that run on a replica."""

    most_running: int
    kv_tokens: float


@dataclass(slots=True)
class Trajectory:
    """What became of the requests, and the pool's state by tick, summed over its replicas."""

    first_token_s: Floats
    """By request; infinite if it has none by the end."""
    finish_s: Floats
    ticks_s: Floats
    """Start of each tick, and the end of the last."""
    running: Floats
    """Decodes."""
    waiting: Floats
    """Requests whose prompt is not computed."""
    busy: Floats
    """Share of the tick in which replicas compute."""
    kv_tokens: Floats
    steps: Floats
    reads_tokens: Floats
    """Tokens in the cache that decodes have read."""


class FluidPool:
    """The state of every replica of one pool."""

    def __init__(self, load: PoolLoad, replicas: int, costs: StepCosts, limits: FluidLimits) -> None:
        self._load, self._costs, self._limits = load, costs, limits
        self._replicas = replicas
        count = len(load.arrival_s)
        self._order = np.argsort(load.replica, kind="stable")
        """Requests by replica, each replica's in order of arrival."""
        sizes = np.bincount(load.replica, minlength=replicas)
        self._next = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        """By replica: place in that order of the first request whose prompt is not computed."""
        self._prompts = load.prompt_tokens[self._order].astype(np.float64)
        self._through = np.cumsum(self._prompts)
        """Prompt tokens up to and with each place; one stream, cut into those of the replicas."""
        self._computed = np.where(self._next > 0, np.append(self._through, 0.0)[self._next - 1], 0.0)
        """By replica: how far its part of the stream is computed."""
        self._arrived = self._computed.copy()
        self._queued = np.zeros(replicas)
        """Requests whose prompt is not computed."""
        self._arrivals = 0
        self._clock = np.zeros(replicas)
        """Steps so far."""
        self._running = np.zeros(replicas, np.int64)
        self._offset = np.zeros(replicas)
        """Sum over the decodes of their prompts less the clock at which they began."""
        self._active = np.zeros(0, np.int64)
        """Requests that decode."""
        self._ends = np.zeros(0)
        """The clock at which each of them ends."""
        self._mean_output = max(1.0, float(load.output_tokens.mean())) if count else 1.0
        self._mean_prompt = max(1.0, float(load.prompt_tokens.mean())) if count else 1.0
        self._began = np.zeros(count)
        self.first_token_s = np.full(count, NEVER_S)
        self.finish_s = np.full(count, NEVER_S)
        self._last_steps = np.zeros(replicas)
        self._step_s = float(costs.decode_s(np.ones(1, np.int64), np.full(1, self._mean_prompt))[0])
        """Shortest step without prompts of any replica in the last tick."""

    def run(self, least_tick_s: float, end_s: float | None) -> Trajectory:
        """Advance until every request has ended, or to ``end_s``; ticks last ``least_tick_s`` at least."""
        starts: list[float] = []
        figures: list[tuple[float, ...]] = []
        now = 0.0
        arrivals_s = self._load.arrival_s
        while end_s is None or now < end_s:
            if not len(self._active) and not self._queued.any():
                if self._arrivals == len(arrivals_s):
                    break
                # Nothing happens before the next arrival: one tick without work.
                idle_s = float(arrivals_s[self._arrivals]) - now
                if idle_s > 0:
                    starts.append(now)
                    figures.append((0.0,) * len(_FIGURES))
                    now = float(arrivals_s[self._arrivals]) if end_s is None else min(now + idle_s, end_s)
                    continue
            length = max(least_tick_s, self._step_s * max(self._mean_output / TICKS_A_STAY, LEAST_STEPS))
            length = length if end_s is None else min(length, end_s - now)
            starts.append(now)
            figures.append(self._tick(now, length))
            now += length
        columns = np.array(figures).reshape(len(figures), len(_FIGURES)).T
        return Trajectory(self.first_token_s, self.finish_s, np.array([*starts, now]), *columns)

    def _tick(self, now: float, length: float) -> tuple[float, ...]:
        """Advance every replica by one tick."""
        self._arrive(now + length)
        running, context_sum = self._running, self._offset + self._running * self._clock
        decodes = np.clip(running, 1, self._limits.most_running)
        context = np.where(running > 0, context_sum / decodes, self._mean_prompt)
        sizes = running.astype(np.float64)
        decode_s = self._costs.decode_s(decodes, context)
        first_s, further_s = self._costs.first_s(sizes), self._costs.further_s(sizes)
        tokens = np.minimum(self._arrived - self._computed, self._room_tokens(context_sum))
        units = tokens / self._costs.unit_tokens
        most = self._costs.most_units(sizes)
        a_step = units_a_step(decode_s, first_s, further_s, units / length, most)
        step_s = mean_step_s(decode_s, first_s, further_s, a_step, most)
        steps = length / step_s
        self._step_s = float(decode_s.min())
        done = np.minimum(units, a_step * steps)
        # Beyond its KV cache a replica preempts, so that only a part of its decodes runs.
        steps *= np.minimum(1.0, self._limits.kv_tokens / np.maximum(context_sum, 1.0))
        busy = np.where(running > 0, 1.0, np.minimum(1.0, done * first_s / length))
        before = self._computed
        self._computed = np.minimum(before + done * self._costs.unit_tokens, self._arrived)
        self._start(now, length, before, steps, first_s)
        self._finish(now, length, steps)
        self._last_steps = steps
        made = np.where(running > 0, steps * (1.0 + self._costs.prompt_steps(a_step, most)), np.minimum(done, steps))
        return (
            float((running + self._running).sum()) / 2,
            float(self._queued.sum()),
            float(busy.sum()),
            float(context_sum.sum()),
            float(made.sum()),
            float((context_sum * steps).sum()),
        )

    def _arrive(self, until_s: float) -> None:
        stop = int(np.searchsorted(self._load.arrival_s, until_s))
        if stop > self._arrivals:
            part = slice(self._arrivals, stop)
            replica = self._load.replica[part]
            self._arrived += np.bincount(replica, self._load.prompt_tokens[part], minlength=self._replicas)
            self._queued += np.bincount(replica, minlength=self._replicas)
            self._arrivals = stop

    def _room_tokens(self, context_sum: Floats) -> Floats:
        """Return the prompt tokens for which there are slots and KV cache, those that become free in the tick too."""
        leaving = self._running * np.minimum(1.0, self._last_steps / self._mean_output)
        slots = np.maximum(self._limits.most_running - self._running + leaving, 0.0)
        freed = context_sum * np.minimum(1.0, self._last_steps / self._mean_output)
        room: Floats = np.minimum(
            slots * self._mean_prompt, np.maximum(self._limits.kv_tokens - context_sum + freed, 0.0)
        )
        return room

    def _start(self, now: float, length: float, before: Floats, steps: Floats, first_s: Floats) -> None:
        """Let the requests decode whose prompts are computed in this tick."""
        stop = np.searchsorted(self._through, self._computed + SMALL * self._through[-1], side="right")
        counts = np.maximum(stop - self._next, 0)
        total = int(counts.sum())
        if not total:
            return
        replica = np.repeat(np.arange(self._replicas), counts)
        within = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
        places = self._next[replica] + within
        moved = np.maximum(self._computed[replica] - before[replica], SMALL)
        share = np.clip((self._through[places] - before[replica]) / moved, 0.0, 1.0)
        requests = self._order[places]
        # A prompt is computed no earlier than it arrives, wherever in the tick the stream has it.
        share = np.maximum(share, np.clip((self._load.arrival_s[requests] - now) / length, 0.0, 1.0))
        began = self._clock[replica] + share * steps[replica]
        # Steps of the whole tick are longer by its prompts, yet no request waits for its own after its first token.
        own_s = np.minimum(self._prompts[places] / self._costs.unit_tokens * first_s[replica], length)
        self.first_token_s[requests] = now + share * length + (1 - share) * own_s
        self._began[requests] = began
        self._next = self._next + counts
        self._queued -= counts
        self._running = self._running + counts
        self._offset += np.bincount(replica, self._prompts[places] - began, minlength=self._replicas)
        self._active = np.concatenate([self._active, requests])
        self._ends = np.concatenate([self._ends, began + self._load.output_tokens[requests] - 1])

    def _finish(self, now: float, length: float, steps: Floats) -> None:
        """Advance the clocks and let the requests leave whose tokens are all there."""
        before = self._clock
        self._clock = before + steps
        replica = self._load.replica[self._active]
        has_ended = self._ends <= self._clock[replica]
        if not has_ended.any():
            return
        requests, own = self._active[has_ended], replica[has_ended]
        share = np.clip((self._ends[has_ended] - before[own]) / np.maximum(steps[own], SMALL), 0.0, 1.0)
        self.finish_s[requests] = np.maximum(now + share * length, self.first_token_s[requests])
        self._running = self._running - np.bincount(own, minlength=self._replicas)
        self._offset -= np.bincount(
            own, self._load.prompt_tokens[requests] - self._began[requests], minlength=self._replicas
        )
        self._active, self._ends = self._active[~has_ended], self._ends[~has_ended]


_FIGURES: Final = ("running", "waiting", "busy", "kv_tokens", "steps", "reads_tokens")
