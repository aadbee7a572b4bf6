"""Histogram boundaries of the servers that are simulated, and grids that contain all of them.

A histogram is a plain int64 array of one count per boundary, of what is at most that and above the one before, plus one
for everything above the last; it becomes cumulative only where it is exposed.  What several servers observe is counted
on the union of their boundaries (``grid``), so that ``cumulative`` is exact for each of them.

Sources: vLLM ``vllm/v1/metrics/loggers.py``, SGLang ``python/sglang/srt/observability/metrics_collector.py``, llm-d's
endpoint picker ``pkg/epp/metrics``.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from cluster_sim.units import NS_PER_S

Int64Array = npt.NDArray[np.int64]

ITERATION_TOKENS: Final = (1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
"""vLLM: tokens of one engine step."""

TTFT_S: Final = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
"""vLLM: time to first token."""

TOKEN_GAP_S: Final = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
)
"""vLLM: inter-token latency and time per output token."""

REQUEST_S: Final = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0),
    *(120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0),
)
"""vLLM: end-to-end latency and its parts: queue, inference, prefill, decode."""

SGLANG_TTFT_S: Final = (
    *(0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 20.0, 40.0, 60.0, 80.0, 100.0, 200.0, 400.0),
)
SGLANG_E2E_S: Final = (*SGLANG_TTFT_S, 600.0, 1200.0, 1800.0, 2400.0)
SGLANG_TOKEN_GAP_S: Final = (
    *(0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.06, 0.08),
    *(0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 2.0, 4.0, 6.0, 8.0),
)
SGLANG_QUEUE_S: Final = (
    *(0.0, 0.001, 0.005, 0.01, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0),
    *(60.0, 70.0, 80.0, 90.0, 100.0, 200.0, 300.0, 400.0, 500.0, 600.0, 700.0, 800.0, 900.0, 1000.0, 1200.0),
    *(1400.0, 1600.0, 1800.0, 2000.0, 2500.0, 3000.0),
)

PICKER_E2E_S: Final = (
    *(0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0),
    *(30.0, 45.0, 60.0, 120.0, 180.0, 240.0, 300.0, 360.0, 480.0, 600.0, 900.0, 1200.0, 1800.0, 2700.0, 3600.0),
)
PICKER_TTFT_S: Final = (
    *(0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0),
    *(30.0, 45.0, 60.0, 120.0),
)
PICKER_TOKEN_S: Final = (
    *(0.0005, 0.00205, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.125, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 2.0),
)
"""Time per output token, and end-to-end latency over output tokens."""
PICKER_TOKENS: Final = (1, *(1 << power for power in range(3, 21)))
"""Tokens of requests."""

NIXL_S: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 5.0)
"""vLLM's NIXL connector: transfers of KV caches."""
NIXL_BYTES: Final = tuple(1 << (10 + power) for power in range(1, 25, 2))


def grid(*bounds: Sequence[float]) -> tuple[float, ...]:
    """Return all boundaries, in order."""
    return tuple(sorted({bound for each in bounds for bound in each}))


TTFT_GRID_S: Final = grid(TTFT_S, SGLANG_TTFT_S, PICKER_TTFT_S)
E2E_GRID_S: Final = grid(REQUEST_S, SGLANG_E2E_S, PICKER_E2E_S)
QUEUE_GRID_S: Final = grid(REQUEST_S, SGLANG_QUEUE_S)
TPOT_GRID_S: Final = grid(TOKEN_GAP_S, PICKER_TOKEN_S)


def cumulative(counts: Int64Array, counted: Sequence[float], bounds: Sequence[float]) -> Int64Array:
    """Return how many values are at most each of ``bounds``, and how many there are at all, int64[..., bounds + 1].

    ``counts`` are int64[..., counted + 1] on the boundaries ``counted``, which contain ``bounds``.
    """
    sums: Int64Array = np.cumsum(counts, axis=-1)
    places = [*np.searchsorted(counted, bounds).tolist(), len(counted)]
    result: Int64Array = sums[..., places]
    return result


def nanoseconds(bounds_s: Sequence[float]) -> Int64Array:
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


def token_grid(limit: int) -> tuple[int, ...]:
    """Return the grid on which tokens of requests are counted, for contexts of at most ``limit`` tokens."""
    return tuple(sorted({*one_two_five(limit), *PICKER_TOKENS}))
