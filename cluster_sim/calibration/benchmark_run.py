"""One run of a benchmark as a result file tells it: what the client sent, and what it measured."""

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from cluster_sim.calibration.case import WHOLE_RUN, FloatArray, Int64Array, Key, Requests
from cluster_sim.calibration.latency_figures import figures
from cluster_sim.calibration.result_file import MOST, ResultDocument
from cluster_sim.errors import InputError
from cluster_sim.shown_values import by_number

MOST_ITEMS: Final = 1_000_000
"""More than any benchmark sends; a typing error beyond it would fill the memory."""


@dataclass(slots=True)
class BenchmarkRun:
    """One run of one server."""

    place: str
    """File and line where its result begins."""
    requests: Requests
    measured: dict[Key, float]
    """Seconds."""
    in_flight_limit: int = 0
    """Most requests that the client keeps in flight; 0: no limit."""
    model: str | None = None
    """As the file names it."""
    engine: str | None = None
    """Kind of engine, where the file says it."""
    replicas: int = 1
    tensor_parallel: int | None = None
    notes: list[str] = field(default_factory=list)
    """What had to be left out or filled in."""


@dataclass(frozen=True, slots=True)
class RequestTimes:
    """Requests that succeeded, one row each, times in seconds."""

    start_s: FloatArray
    prompt_tokens: Int64Array
    output_tokens: Int64Array
    ttft_s: FloatArray
    e2e_s: FloatArray


def run_of_rows(place: str, times: RequestTimes, failed: int, limit: int = 0) -> BenchmarkRun:
    """Return the run of requests that are given one by one; ``failed`` is how many are left out.

    Raises InputError where none is left, or a first token comes before its request or after its end.
    """
    if not len(times.start_s):
        raise InputError(f"{place}: no request succeeded")
    if max(times.prompt_tokens.max(), times.output_tokens.max()) > MOST:
        raise InputError(f"{place}: a request has more than {MOST} tokens")
    order = np.argsort(times.start_s, kind="stable")
    start_s = times.start_s[order] - times.start_s[order[0]]
    prompts, outputs = np.maximum(1, times.prompt_tokens[order]), np.maximum(1, times.output_tokens[order])
    ttft_s, e2e_s = times.ttft_s[order], times.e2e_s[order]
    wrong = np.flatnonzero(~(ttft_s >= 0) | ~(e2e_s >= ttft_s - 1e-9))
    if len(wrong):
        row = int(wrong[0])
        raise InputError(
            f"{place}: request {int(order[row])} has its first token after {ttft_s[row]:g} s and its end after "
            f"{e2e_s[row]:g} s"
        )
    stage = np.zeros(len(start_s), np.int64)
    measured = figures(ttft_s, e2e_s, start_s, outputs, stage)
    kept = {key: value for key, value in measured.items() if key[1] in {"ttft_mean", "tpot_mean", "e2e_mean"}}
    run = BenchmarkRun(place, Requests(start_s, prompts, outputs, stage), kept, limit)
    note_failures(run, failed, len(start_s) + failed)
    return run


def note_failures(run: BenchmarkRun, failed: int, total: int) -> None:
    """Note requests that are left out."""
    if failed:
        run.notes.append(f"{failed} of {total} requests did not succeed and {by_number(failed, 'is', 'are')} left out")


def request_count(document: ResultDocument, value: float | None, *keys: str) -> int:
    """Return how many requests a run had; InputError for none, or too many."""
    if value is None:
        raise InputError(f"{document.place()}: {'.'.join(keys)}: is missing; it must be the number of requests")
    if not 1 <= value <= MOST_ITEMS:
        raise InputError(
            f"{document.place(*keys)}: {'.'.join(keys)}: no request was completed"
            if value < 1
            else f"{document.place(*keys)}: {'.'.join(keys)}: must be at most {MOST_ITEMS}; got {value:g}"
        )
    return int(value)


def gamma_arrivals(count: int, rate: float, burstiness: float, rng: np.random.Generator) -> FloatArray:
    """Return arrivals with gamma gaps at a rate, or all at once at an infinite one."""
    if not math.isfinite(rate) or rate <= 0:
        return np.zeros(count)
    gaps = rng.gamma(burstiness, 1.0 / (rate * burstiness), count)
    times_s: FloatArray = np.cumsum(gaps) - gaps[0]
    return times_s


def even_arrivals(count: int, rate: float) -> FloatArray:
    """Return arrivals at equal distances."""
    times_s: FloatArray = np.arange(count) / rate
    return times_s


def mean_requests(arrival_s: FloatArray, prompt_mean: float, output_mean: float) -> Requests:
    """Return requests that all have the mean lengths."""
    count = len(arrival_s)
    prompt, output = (max(1, round(mean)) for mean in (prompt_mean, output_mean))
    return Requests(
        arrival_s, np.full(count, prompt, np.int64), np.full(count, output, np.int64), np.zeros(count, np.int64)
    )


def whole_run(metric: str) -> Key:
    """Return the key of a figure of a whole run."""
    return WHOLE_RUN, metric
