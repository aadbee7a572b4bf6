"""Arrivals of one ServeGen client within one window.

Design: in every window a client's requests form a renewal process with the window's rate and gap distribution.  Its
first gap is the *stationary* residual (a uniform share of a length-biased gap), so the expected number in a window is
rate times length exactly, for slow clients too; without it bursty slow clients would come out too busy.
"""

import math

import numpy as np

from cluster_sim.workload.sampling.random_streams import Floats
from cluster_sim.workload.servegen.client_files import ClientWindow


def residual_gap(window: ClientWindow, random: np.random.Generator) -> float:
    """Return a draw of the time to the first arrival of the stationary renewal process, for gaps of mean 1."""
    if window.family == "Weibull":
        one = 1.0 / window.shape
        biased = random.standard_gamma(1.0 + one) ** one / math.gamma(1.0 + one)
    else:
        biased = random.standard_gamma(window.shape + 1.0) / window.shape
    return float(biased * random.random())


def unit_gaps(window: ClientWindow, random: np.random.Generator, count: int) -> Floats:
    """Return gaps of mean 1 with the window's distribution."""
    if window.family == "Weibull":
        return random.weibull(window.shape, count) / math.gamma(1.0 + 1.0 / window.shape)
    return random.standard_gamma(window.shape, count) / window.shape


def window_arrivals(window: ClientWindow, length_s: float, scale: float, random: np.random.Generator) -> Floats:
    """Return the arrivals in a window, seconds from its start; ``scale`` multiplies the rate."""
    rate = window.request_rate * scale
    if rate <= 0:
        return np.empty(0)
    parts: list[Floats] = []
    now = residual_gap(window, random) / rate
    while now < length_s:
        count = max(int((length_s - now) * rate * 1.1) + 16, 16)
        times = now + np.concatenate([[0.0], np.cumsum(unit_gaps(window, random, count) / rate)])
        parts.append(times[:-1])
        now = float(times[-1])
    if not parts:
        return np.empty(0)
    whole: Floats = np.concatenate(parts)
    return whole[: int(np.searchsorted(whole, length_s, side="left"))]
