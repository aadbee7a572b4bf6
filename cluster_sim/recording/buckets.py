"""Histogram boundaries, vLLM's own (``vllm/v1/metrics/loggers.py``).

A histogram is a plain int64 array of one count per boundary, of what is at most that and above the one before, plus one
for everything above the last; it becomes cumulative only where it is exposed.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from cluster_sim.units import NS_PER_S

Int64Array = npt.NDArray[np.int64]

ITERATION_TOKENS: Final = (1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
"""Tokens computed in one engine step."""

TTFT_S: Final = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
"""Time to first token."""

TOKEN_GAP_S: Final = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
)
"""Inter-token latency and time per output token."""

REQUEST_S: Final = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0),
    *(120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0),
)
"""End-to-end latency and its parts: queue, inference, prefill, decode."""


def nanoseconds(bounds_s: tuple[float, ...]) -> Int64Array:
    """Return boundaries in seconds as int64 nanoseconds."""
    return np.array([round(bound * NS_PER_S) for bound in bounds_s], np.int64)


def one_two_five(limit: int) -> tuple[int, ...]:
    """Return the series 1, 2, 5, 10, 20, 50 ... up to ``limit``: vLLM's boundaries for counts of tokens."""
    bounds: list[int] = []
    scale = 1
    while scale <= limit:
        bounds.extend(step * scale for step in (1, 2, 5) if step * scale <= limit)
        scale *= 10
    return tuple(bounds)
