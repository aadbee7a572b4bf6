"""A window of a live server's ``vllm:*`` histograms, as Prometheus' ``query_range`` answers.

One answer, or several after each other (``curl .../api/v1/query_range?query=...``), are one run.  Everything is a
difference of counters between the first and the last sample: mean latencies are sums over counts, mean lengths those
of the request histograms, and as many requests arrive between two samples as first tokens came.  Instances of one
server (``engine``, data-parallel ranks) are added up.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np

from cluster_sim.calibration.benchmark_run import BenchmarkRun, mean_requests, whole_run
from cluster_sim.calibration.case import FloatArray, Key
from cluster_sim.calibration.result_file import ResultDocument
from cluster_sim.calibration.result_format import RESULT_FORMATS, ResultFormatOptions
from cluster_sim.errors import InputError
from cluster_sim.shown_values import by_number, counted

FIRST_TOKENS: Final = "vllm:time_to_first_token_seconds"
PROMPTS: Final = "vllm:request_prompt_tokens"
OUTPUTS: Final = "vllm:request_generation_tokens"
FIGURES: Final = (
    (FIRST_TOKENS, "ttft_mean"),
    ("vllm:request_time_per_output_token_seconds", "tpot_mean"),
    ("vllm:inter_token_latency_seconds", "tpot_mean"),
    ("vllm:time_per_output_token_seconds", "tpot_mean"),
    ("vllm:e2e_request_latency_seconds", "e2e_mean"),
)
"""Histograms and what their means are; of several for one figure the first counts."""
FEWEST_REQUESTS: Final = 100
MOST_REQUESTS: Final = 10_000_000
"""More is no window of one server, and would not fit in memory."""
SHORTEST_S: Final = 60.0
"""Less says more of single requests than of the server."""
LONGEST_GAP: Final = 3.0
"""Most times the median distance that two samples may be apart."""

Series = dict[float, float]
"""Values by time."""


class PrometheusFormat(ResultFormatOptions):
    """Answers of Prometheus' query_range with vllm:* histograms."""

    kind: Literal["prometheus"] = "prometheus"


@RESULT_FORMATS.register("prometheus", PrometheusFormat)
class PrometheusReader:
    """Reads all answers of a file as one run."""

    keys = frozenset({"status", "data"})

    def recognises(self, first: object) -> bool:
        """Return whether a document is an answer with a matrix of samples."""
        data = first.get("data") if isinstance(first, dict) else None
        return isinstance(data, dict) and "resultType" in data

    def read(self, documents: Sequence[ResultDocument], seed: int) -> list[BenchmarkRun]:
        """Return the run of a window; InputError where the counters do not describe one."""
        place = documents[0].place()
        series, model = _series(documents)
        counts = _needed(series, f"{FIRST_TOKENS}_count", place)
        times = np.array(sorted(counts))
        _check_window(times, place)
        arrived = np.diff([counts[time] for time in times.tolist()])
        total = float(arrived.sum())
        if total < FEWEST_REQUESTS:
            raise InputError(
                f"{place}: {counted(round(total), 'request')} in {times[-1] - times[0]:.0f} s "
                f"{by_number(round(total), 'is', 'are')} too few to calibrate from; export a window with at least "
                f"{FEWEST_REQUESTS}"
            )
        if total > MOST_REQUESTS:
            raise InputError(
                f"{place}: {total:.3g} requests are more than one server answers in a window, or than can be "
                f"calibrated from; export a window with at most {MOST_REQUESTS:,}"
            )
        prompt, output = (_mean(series, name, place) for name in (PROMPTS, OUTPUTS))
        arrival_s = _spread(times, arrived, np.random.default_rng(seed))
        run = BenchmarkRun(place, mean_requests(arrival_s, prompt, output), _measured(series, place), model=model)
        run.notes.append("a window of counters: every request has the mean lengths, and arrivals are drawn per sample")
        return [run]


def _series(documents: Sequence[ResultDocument]) -> tuple[dict[str, Series], str | None]:
    """Return the sums over instances of every series, by name, and the model that they are of."""
    parts: dict[str, list[Series]] = defaultdict(list)
    models: set[str] = set()
    for document in documents:
        if document.value("status") not in {None, "success"}:
            raise document.wrong(("status",), '"success"', document.value("status"))
        if document.text_of("data", "resultType") != "matrix":
            raise document.wrong(
                ("data", "resultType"), '"matrix" (query_range, not query)', document.value("data", "resultType")
            )
        for number, entry in enumerate(document.items("data", "result")):
            labels = entry.get("metric") if isinstance(entry, dict) else None
            if not isinstance(labels, dict) or "__name__" not in labels:
                raise InputError(
                    f"{document.place('data', 'result')}: data.result[{number}].metric.__name__: is missing; query the "
                    "series themselves, without rate() or sum()"
                )
            if "le" in labels:
                continue
            if labels.get("model_name"):
                models.add(str(labels["model_name"]))
            parts[str(labels["__name__"])].append(_samples(document, entry.get("values"), number))
    if len(models) > 1:
        raise InputError(f"{documents[0].place()}: series of several models ({', '.join(sorted(models))}); export one")
    place = documents[0].place()
    return {name: _summed(name, instances, place) for name, instances in parts.items()}, next(iter(models), None)


def _samples(document: ResultDocument, values: Any, number: int) -> Series:
    """Return the samples of one series; InputError for what is not finite, and for a time or counter that goes back."""
    found: Series = {}
    last_time, last = -math.inf, -math.inf
    for pair in values if isinstance(values, list) else []:
        try:
            time, value = float(pair[0]), float(pair[1])
        except (TypeError, ValueError, LookupError):  # A mapping has no item 0.
            raise document.wrong(("data", "result"), f"pairs of time and value (result {number})", pair) from None
        if not (math.isfinite(time) and math.isfinite(value)):
            raise document.wrong(("data", "result"), f"pairs of finite time and value (result {number})", pair)
        if time <= last_time:
            raise InputError(f"{document.place('data', 'result')}: result {number}: times go back at {time:.0f}")
        if value < last:
            raise InputError(
                f"{document.place('data', 'result')}: result {number}: the counter falls from {last:g} to {value:g} at "
                f"{time:.0f}: the server was restarted; export a window without that"
            )
        found[time], last_time, last = value, time, value
    return found


def _summed(name: str, instances: list[Series], place: str) -> Series:
    """Return the sum of several instances at the times that all of them have; InputError where their clocks differ."""
    common = set.intersection(*(set(series) for series in instances))
    if len(common) < 2 <= min(len(series) for series in instances):
        raise InputError(
            f"{place}: {name}: its instances were sampled at different times, or by clocks that disagree; export them "
            "with one query_range, or one instance"
        )
    return {time: sum(series[time] for series in instances) for time in sorted(common)}


def _needed(series: dict[str, Series], name: str, place: str) -> Series:
    found = series.get(name, {})
    if len(found) < 2:
        raise InputError(f"{place}: {name}: needs at least two samples; export a window of this series too")
    return found


def _check_window(times: FloatArray, place: str) -> None:
    """Raise InputError for a window that is too short, or has a hole."""
    if times[-1] - times[0] < SHORTEST_S:
        raise InputError(f"{place}: the window has {times[-1] - times[0]:.0f} s; export at least {SHORTEST_S:.0f} s")
    distances = np.diff(times)
    widest = int(distances.argmax())
    if distances[widest] > LONGEST_GAP * float(np.median(distances)):
        raise InputError(
            f"{place}: no samples for {distances[widest]:.0f} s after {times[widest]:.0f}, with one every "
            f"{float(np.median(distances)):.0f} s elsewhere; export a window without the gap"
        )


def _increase(series: Series) -> float:
    return series[max(series)] - series[min(series)]


def _mean(series: dict[str, Series], name: str, place: str) -> float:
    """Return the mean of a histogram over the window."""
    count = _increase(_needed(series, f"{name}_count", place))
    if count <= 0:
        raise InputError(f"{place}: {name}_count: does not grow in the window")
    return _increase(_needed(series, f"{name}_sum", place)) / count


def _measured(series: dict[str, Series], place: str) -> dict[Key, float]:
    """Return the mean latencies of the window; InputError without a time of steps and of first tokens."""
    found: dict[Key, float] = {}
    for name, figure in FIGURES:
        if f"{name}_count" in series and whole_run(figure) not in found:
            found[whole_run(figure)] = _mean(series, name, place)
    if whole_run("tpot_mean") not in found and whole_run("e2e_mean") not in found:
        names = ", ".join(f"{name}_sum and _count" for name, figure in FIGURES if figure != "ttft_mean")
        raise InputError(f"{place}: no time of steps is in the export; it needs one of {names}")
    return found


def _spread(times: FloatArray, arrived: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return arrivals at random times between the samples, as many as came, from 0 on."""
    parts = [
        rng.uniform(begin, end, round(count))
        for begin, end, count in zip(times[:-1], times[1:], arrived.tolist(), strict=True)
    ]
    arrivals: FloatArray = np.sort(np.concatenate(parts))
    relative: FloatArray = arrivals - arrivals[0]
    return relative
