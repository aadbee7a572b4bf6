"""Rates that change over time: what thinning needs to know of them."""

import math
from pathlib import Path
from typing import Protocol

import numpy as np

from cluster_sim.errors import InputError
from cluster_sim.workload.arrival_options import (
    MmppArrivals,
    PiecewiseArrivals,
    RampArrivals,
    SinusoidalArrivals,
    SpikeArrivals,
    StepArrivals,
)
from cluster_sim.workload.csv_file import Field, read_csv
from cluster_sim.workload.sampling.random_streams import Floats, Stream


class Rate(Protocol):
    """Requests per second as a function of time; asked with times that never decrease from call to call."""

    bound: float
    """No rate is greater."""
    ends_s: float
    """From here on the rate is 0 for ever; infinite when it is not."""

    def at(self, time_s: Floats) -> Floats:
        """Return the rates at the given times."""


class Sinusoid:
    """A mean rate with a sine on top."""

    ends_s = math.inf

    def __init__(self, config: SinusoidalArrivals) -> None:
        self._config = config
        self.bound = config.request_rate * (1.0 + config.amplitude)

    def at(self, time_s: Floats) -> Floats:
        """Return the rates at the given times."""
        one = self._config
        angle = 2.0 * math.pi * (((time_s + one.phase_s) / one.period_s) % 1.0)
        result: Floats = one.request_rate * (1.0 + one.amplitude * np.sin(angle))
        return result


class Ramp:
    """From one rate linearly to another, constant afterwards."""

    def __init__(self, config: RampArrivals) -> None:
        self._config = config
        self.bound = max(config.start_rate, config.end_rate)
        self.ends_s = config.ramp_s if config.end_rate == 0 else math.inf

    def at(self, time_s: Floats) -> Floats:
        """Return the rates at the given times."""
        one = self._config
        result: Floats = one.start_rate + (one.end_rate - one.start_rate) * np.minimum(time_s / one.ramp_s, 1.0)
        return result


class Spike:
    """A base rate and one spike, or one every period."""

    def __init__(self, config: SpikeArrivals) -> None:
        self._config = config
        self.bound = max(config.request_rate, config.spike_rate)
        once_only = config.request_rate == 0 and config.every_s is None
        self.ends_s = config.at_s + config.spike_s if once_only else math.inf

    def at(self, time_s: Floats) -> Floats:
        """Return the rates at the given times."""
        one = self._config
        since = time_s - one.at_s
        if one.every_s is not None:
            since = np.where(since >= 0, since % one.every_s, since)
        result: Floats = np.where((since >= 0) & (since < one.spike_s), one.spike_rate, one.request_rate)
        return result


class Steps:
    """Rates that hold from one time to the next; before the first time the rate is 0."""

    def __init__(self, starts_s: list[float], rates: list[float], repeat_s: float | None = None) -> None:
        self._starts = np.asarray([-math.inf, *starts_s])
        self._rates = np.asarray([0.0, *rates])
        self._repeat = repeat_s
        self.bound = float(self._rates.max())
        self.ends_s = starts_s[-1] if rates[-1] == 0 and repeat_s is None else math.inf

    def at(self, time_s: Floats) -> Floats:
        """Return the rates at the given times."""
        if self._repeat is not None:
            time_s = time_s % self._repeat
        result: Floats = self._rates[np.searchsorted(self._starts, time_s, side="right") - 1]
        return result


def step_rate(config: StepArrivals) -> Steps:
    """Return the rate of step arrivals."""
    return Steps(
        [0.0, *(step.at_s for step in config.steps)],
        [config.request_rate, *(step.request_rate for step in config.steps)],
    )


def piecewise_rate(config: PiecewiseArrivals) -> Steps:
    """Return the rate read from a file; InputError for a wrong file."""
    path = Path(config.path)
    fields = {"start": Field(("start_s",), "seconds"), "rate": Field(("request_rate",), "number", most=1e9)}
    blocks = list(read_csv(path, fields))
    starts = np.concatenate([block["start"] for block in blocks])
    rates = np.concatenate([block["rate"] for block in blocks]) * config.scale
    if bool((np.diff(starts) <= 0).any()):
        row = int(np.flatnonzero(np.diff(starts) <= 0)[0]) + 1
        raise InputError(f"{path}: data row {row + 1}, column 'start_s': {starts[row]:g} does not increase")
    if float(rates.max()) <= 0:
        raise InputError(f"{path}: column 'request_rate': every rate is 0")
    if config.repeat_s is not None and float(starts[0]) >= config.repeat_s:
        raise InputError(f"{path}: repeat_s {config.repeat_s:g} ends before the first start_s {starts[0]:g}")
    return Steps(starts.tolist(), rates.tolist(), config.repeat_s)


class StatePath:
    """The rate of a Markov-modulated Poisson process along one drawn path of states."""

    ends_s = math.inf

    def __init__(self, config: MmppArrivals, stream: Stream) -> None:
        self._config = config
        self._stays, self._jumps = stream.child("stays"), stream.child("jumps")
        self.bound = max(state.request_rate for state in config.states)
        self._state = 0
        self._drawn = 0
        self._edges = np.zeros(1)
        self._rates = np.zeros(0)

    def _extend(self) -> None:
        """Draw the next stays; what lies before the last known edge is kept for times not yet asked for."""
        count = 256
        stays = -np.log1p(-self._stays.uniforms(self._drawn, count))
        jumps = self._jumps.uniforms(self._drawn, count)
        self._drawn += count
        states = self._config.states
        means, rates = [], []
        for jump in jumps.tolist():
            means.append(states[self._state].mean_stay_s)
            rates.append(states[self._state].request_rate)
            step = 1 if self._config.next_state == "cyclic" else 1 + int(jump * (len(states) - 1))
            self._state = (self._state + step) % len(states)
        ends = self._edges[-1] + np.cumsum(stays * np.asarray(means))
        self._edges = np.concatenate([self._edges, ends])
        self._rates = np.concatenate([self._rates, np.asarray(rates)])

    def at(self, time_s: Floats) -> Floats:
        """Return the rates at the given times, drawing the path as far as needed."""
        while self._edges[-1] <= time_s[-1]:
            self._extend()
        passed = max(int(np.searchsorted(self._edges, time_s[0], side="right")) - 1, 0)
        self._edges, self._rates = self._edges[passed:], self._rates[passed:]
        result: Floats = self._rates[np.searchsorted(self._edges, time_s, side="right") - 1]
        return result
