"""Generator fitted to a trace: a self-contained workload section with the trace's own rate, burstiness and lengths.

Design: rates and lengths of real traces drift over minutes, and they drift together (long answers when there are few
requests), so the trace is cut into windows and each becomes a phase with its own figures.  Within a window gaps are
Poisson, gamma or Weibull, whichever is nearest in Kolmogorov-Smirnov distance; lengths are lognormal, or the window's
own quantile function in bins of equal probability, each bin at its mean, so that means are kept exactly.  Prompt and
output are tied by a Gaussian copula at the window's rank correlation.
"""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final, Literal

import numpy as np

from cluster_sim.errors import InputError
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.columns import Columns, concatenate
from cluster_sim.workload.sampling.gamma_quantile import GammaQuantile
from cluster_sim.workload.sampling.random_streams import Floats, Ints
from cluster_sim.workload.sampling.weibull_shape import weibull_shape

_BINS: Final = 100
_FEWEST: Final = 20
"""Windows with fewer requests are joined with the next."""
_POISSON_LIMIT: Final = 1.25
"""Gaps are Poisson unless their distance times sqrt(n) is above this: the 1 % point of Lilliefors' test (1969)."""
MOST_ROWS: Final = 20_000_000

LengthModel = Literal["empirical", "lognormal"]


def collect(blocks: Iterator[Columns], path: str) -> Columns:
    """Return all rows without their attributes; InputError if they do not fit in memory."""
    parts: list[Columns] = []
    rows = 0
    for block in blocks:
        parts.append(Columns(block.arrival_ns, block.prompt_tokens, block.output_tokens))
        rows += len(block)
        if rows > MOST_ROWS:
            raise InputError(f"{path}: more than {MOST_ROWS:,} rows; fit a part of it with --first")
    return concatenate(parts)


def fit_workload(rows: Columns, window_s: float, lengths: LengthModel) -> dict[str, Any]:
    """Return the workload section of a study that generates requests like ``rows``.

    Raises InputError when there are too few rows to tell rates.
    """
    if len(rows) < _FEWEST or int(rows.arrival_ns[-1]) <= int(rows.arrival_ns[0]):
        raise InputError(f"a fit needs at least {_FEWEST} requests at different times; there are {len(rows)}")
    end_ns = int(rows.arrival_ns[-1]) + 1
    edges = _edges(rows.arrival_ns, end_ns, round(window_s * NS_PER_S))
    phases: list[dict[str, Any]] = []
    for start, end in pairwise(edges):
        low, high = np.searchsorted(rows.arrival_ns, [start, end]).tolist()
        part = rows.rows(slice(low, high))
        section: dict[str, Any] = {
            "kind": "synthetic",
            "duration_s": (end - start) / NS_PER_S,
            "arrivals": fit_arrivals(part.arrival_ns, (end - start) / NS_PER_S),
            "lengths": fit_lengths(part.prompt_tokens, part.output_tokens, lengths),
        }
        phases.append({"duration_s": (end - start) / NS_PER_S, "workload": section})
    if len(phases) == 1:
        only: dict[str, Any] = phases[0]["workload"]
        return only
    return {"kind": "phases", "phases": phases}


def _edges(arrival_ns: Ints, end_ns: int, window_ns: int) -> list[int]:
    edges = [0]
    for edge in (*range(window_ns, end_ns, window_ns), end_ns):
        held = int(np.searchsorted(arrival_ns, edge) - np.searchsorted(arrival_ns, edges[-1]))
        if held >= _FEWEST:
            edges.append(edge)
    if edges[-1] != end_ns:
        edges[-1] = end_ns
    return edges


def fit_arrivals(arrival_ns: Ints, duration_s: float) -> dict[str, Any]:
    """Return the arrivals section nearest to the given times."""
    rate = len(arrival_ns) / duration_s
    gaps = np.sort(np.diff(arrival_ns)) / NS_PER_S
    mean = float(gaps.mean())
    if mean <= 0:
        return {"kind": "poisson", "request_rate": rate}
    cv = max(float(gaps.std()) / mean, 0.05)
    burstiness = min(cv**-2.0, 400.0)
    shape = weibull_shape(cv)
    middle = (np.arange(len(gaps)) + 0.5) / len(gaps)
    poisson: dict[str, Any] = {"kind": "poisson", "request_rate": rate}
    least = _distance(gaps / mean, -np.log1p(-middle))
    if least * math.sqrt(len(gaps)) <= _POISSON_LIMIT:
        return poisson
    candidates = [
        (least, poisson),
        (
            _distance(gaps / mean, GammaQuantile(burstiness).values(middle) / burstiness),
            {"kind": "gamma", "request_rate": rate, "burstiness": burstiness},
        ),
        (
            _distance(gaps / mean, (-np.log1p(-middle)) ** (1 / shape) / math.gamma(1 + 1 / shape)),
            {"kind": "weibull", "request_rate": rate, "shape": shape},
        ),
    ]
    return min(candidates, key=lambda candidate: candidate[0])[1]


def _distance(ordered: Floats, quantiles: Floats) -> float:
    """Return the Kolmogorov-Smirnov distance between sorted values and a distribution given at their mid-ranks."""
    ranks = np.searchsorted(quantiles, ordered) / len(ordered)
    steps = (np.arange(len(ordered)) + 0.5) / len(ordered)
    return float(np.abs(ranks - steps).max())


def fit_lengths(prompt: Ints, output: Ints, model: LengthModel) -> dict[str, Any]:
    """Return the lengths section nearest to the given pairs."""
    rank = _rank_correlation(prompt, output)
    return {
        "prompt": _fit_length(prompt, model),
        "output": _fit_length(output, model),
        "correlation": round(2.0 * math.sin(math.pi * rank / 6.0), 6),
    }


def _rank_correlation(prompt: Ints, output: Ints) -> float:
    first, second = (np.argsort(np.argsort(values, kind="stable")).astype(np.float64) for values in (prompt, output))
    spread = float(first.std() * second.std())
    if spread <= 0 or prompt.min() == prompt.max() or output.min() == output.max():
        return 0.0
    return float(((first - first.mean()) * (second - second.mean())).mean() / spread)


def _fit_length(values: Ints, model: LengthModel) -> dict[str, Any]:
    least, most = int(values.min()), int(values.max())
    if least == most:
        return {"kind": "fixed", "value": least}
    if model == "lognormal":
        logs = np.log(values)
        return {
            "kind": "lognormal",
            "mu": round(float(logs.mean()), 6),
            "sigma": round(float(logs.std()), 6),
            "min": least,
            "max": most,
        }
    bins = np.array_split(np.sort(values), min(_BINS, len(values)))
    return {
        "kind": "empirical",
        "values": [round(float(part.mean()), 3) for part in bins],
        "weights": [len(part) for part in bins],
    }
