"""Markov-modulated Poisson arrivals."""

import math
from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from cluster_sim.options import HIGHEST_RATE, LONGEST_RUN_S, ConfigModel
from cluster_sim.workload.arrivals.arrival_process import ARRIVALS, ArrivalOptions, ArrivalTimes
from cluster_sim.workload.arrivals.thinning import thinned_times
from cluster_sim.workload.sampling.random_streams import Floats, Stream


class MmppState(ConfigModel):
    """One state of a Markov-modulated Poisson process."""

    request_rate: float = Field(ge=0, le=HIGHEST_RATE, description="Requests per second while in this state.")
    mean_stay_s: float = Field(gt=0, le=LONGEST_RUN_S, description="Mean of the exponential stay, seconds.")


class MmppArrivals(ArrivalOptions):
    """Markov-modulated Poisson: states visited in turn (or at random), Poisson arrivals within each."""

    example: ClassVar = {"states": [{"request_rate": 2, "mean_stay_s": 60}, {"request_rate": 20, "mean_stay_s": 10}]}

    rates: ClassVar = ("states",)

    kind: Literal["mmpp"]
    states: tuple[MmppState, ...] = Field(min_length=2, description="The states, in order; the first is the start.")
    next_state: Literal["cyclic", "random"] = Field(
        default="cyclic", description="After a stay: the next state of the list, or any other with equal probability."
    )

    @model_validator(mode="after")
    def _check_rates(self) -> Self:
        if max(state.request_rate for state in self.states) <= 0:
            raise ValueError("at least one state needs a positive request_rate")
        return self


@ARRIVALS.register("mmpp", MmppArrivals)
def build_mmpp(options: MmppArrivals, stream: Stream, count: int | None) -> ArrivalTimes:
    """Return Poisson arrivals along one drawn path of states."""
    return thinned_times(lambda: StatePath(options, stream.child("states")), stream)


class StatePath:
    """The rate along one drawn path of states."""

    ends_s = math.inf

    def __init__(self, options: MmppArrivals, stream: Stream) -> None:
        self._options = options
        self._stays, self._jumps = stream.child("stays"), stream.child("jumps")
        self.bound = max(state.request_rate for state in options.states)
        self._state = 0
        self._drawn = 0
        self._edges = np.zeros(1)
        self._rates = np.zeros(0)

    def _extend(self) -> None:
        """Draw the next stays; the path before the last known edge is kept for times not yet asked for."""
        count = 256
        stays = -np.log1p(-self._stays.uniforms(self._drawn, count))
        jumps = self._jumps.uniforms(self._drawn, count)
        self._drawn += count
        states = self._options.states
        means, rates = [], []
        for jump in jumps.tolist():
            means.append(states[self._state].mean_stay_s)
            rates.append(states[self._state].request_rate)
            step = 1 if self._options.next_state == "cyclic" else 1 + int(jump * (len(states) - 1))
            self._state = (self._state + step) % len(states)
        ends = self._edges[-1] + np.cumsum(stays * np.asarray(means))
        self._edges = np.concatenate([self._edges, ends])
        self._rates = np.concatenate([self._rates, np.asarray(rates)])

    def values(self, times_s: Floats) -> Floats:
        """Return the rates at the given times, drawing the path as far as needed."""
        while self._edges[-1] <= times_s[-1]:
            self._extend()
        passed = max(int(np.searchsorted(self._edges, times_s[0], side="right")) - 1, 0)
        self._edges, self._rates = self._edges[passed:], self._rates[passed:]
        result: Floats = self._rates[np.searchsorted(self._edges, times_s, side="right") - 1]
        return result
