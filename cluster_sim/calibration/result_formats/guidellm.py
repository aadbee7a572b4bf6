"""guidellm's report: several benchmarks, with or without their requests."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, Literal

import numpy as np

from cluster_sim.calibration.benchmark_run import (
    BenchmarkRun,
    RequestTimes,
    even_arrivals,
    gamma_arrivals,
    mean_requests,
    note_failures,
    request_count,
    run_of_rows,
    whole_run,
)
from cluster_sim.calibration.case import FloatArray
from cluster_sim.calibration.result_file import ResultDocument
from cluster_sim.calibration.result_format import RESULT_FORMATS, ResultFormatOptions
from cluster_sim.errors import InputError

FIGURES: Final = (
    ("time_to_first_token_ms", "ttft_mean", 1e-3),
    ("inter_token_latency_ms", "tpot_mean", 1e-3),
    ("request_latency", "e2e_mean", 1.0),
)
"""Figures with their units; guidellm's time per output token counts the first one too, so it is not TPOT."""


class GuidellmFormat(ResultFormatOptions):
    """guidellm's benchmarks.json, one run a benchmark."""

    kind: Literal["guidellm"] = "guidellm"


@RESULT_FORMATS.register("guidellm", GuidellmFormat)
class GuidellmReader:
    """Reads every benchmark of a report as a run."""

    keys = frozenset({"metadata", "config", "benchmarks", "args"})

    def recognises(self, first: object) -> bool:
        """Return whether a document holds benchmarks with metrics."""
        found = first.get("benchmarks") if isinstance(first, dict) else None
        return isinstance(found, list)

    def read(self, documents: Sequence[ResultDocument], seed: int) -> list[BenchmarkRun]:
        """Return one run a benchmark."""
        runs = []
        for document in documents:
            benchmarks = document.items("benchmarks")
            if not benchmarks:
                raise document.wrong(("benchmarks",), "a list with at least one benchmark", benchmarks)
            for index, benchmark in enumerate(benchmarks):
                if not isinstance(benchmark, dict):
                    raise document.wrong(("benchmarks",), f"a list of benchmarks (item {index})", benchmark)
                runs.append(_run(replace(document, data=benchmark), seed))
        return runs


def _run(benchmark: ResultDocument, seed: int) -> BenchmarkRun:
    rows = benchmark.items("requests", "successful") if isinstance(benchmark.value("requests"), dict) else []
    failed = int(sum(_total(benchmark, kind) for kind in ("errored", "incomplete")))
    limit, kind, rate = _strategy(benchmark)
    if rows:
        run = run_of_rows(benchmark.place(), _times(benchmark, rows), failed, limit)
    else:
        run = _of_means(benchmark, limit, kind, rate, seed)
        note_failures(run, failed, len(run.requests) + failed)
    run.model = benchmark.text_of("config", "backend", "model") or benchmark.text_of("args", "model")
    return run


def _total(benchmark: ResultDocument, kind: str) -> float:
    for keys in (("metrics", "request_totals"), ("scheduler_metrics", "requests_made"), ("run_stats", "requests_made")):
        if isinstance(benchmark.value(keys[0]), dict) and isinstance(benchmark.value(*keys), dict):
            return benchmark.count(*keys, kind) or 0.0
    return 0.0


def _strategy(benchmark: ResultDocument) -> tuple[int, str, float]:
    """Return the most requests in flight, the kind of load and its rate."""
    for keys in (("config", "strategy"), ("scheduler", "strategy"), ("args", "strategy")):
        if isinstance(benchmark.value(keys[0]), dict) and isinstance(benchmark.value(*keys), dict):
            kind = benchmark.text_of(*keys, "type_") or ""
            limit = benchmark.limit(*keys, "streams") or benchmark.limit(*keys, "max_concurrency") or 0.0
            if kind == "synchronous":
                limit = 1.0
            return int(limit), kind, benchmark.limit(*keys, "rate") or float("inf")
    raise InputError(f"{benchmark.place()}: config.strategy: is missing, so the load is not known")


def _times(benchmark: ResultDocument, rows: list[Any]) -> RequestTimes:
    found = []
    for index, row in enumerate(rows):
        request = replace(benchmark, data=row)
        if not isinstance(row, dict):
            raise benchmark.wrong(("requests", "successful"), f"a list of requests (item {index})", row)
        start = request.number("request_start_time") or request.needed("start_time")
        latency = request.number("request_latency")
        if latency is None:
            latency = (request.number("request_end_time") or request.needed("end_time")) - start
        first = request.needed("time_to_first_token_ms") / 1e3
        found.append(
            (start, request.needed_count("prompt_tokens"), request.needed_count("output_tokens"), first, latency)
        )
    table = np.array(found, np.float64)
    return RequestTimes(
        table[:, 0], table[:, 1].astype(np.int64), table[:, 2].astype(np.int64), table[:, 3], table[:, 4]
    )


def _of_means(benchmark: ResultDocument, limit: int, kind: str, rate: float, seed: int) -> BenchmarkRun:
    count = request_count(benchmark, _total(benchmark, "successful"), "metrics", "request_totals", "successful")
    measured = {}
    for name, metric, scale in FIGURES:
        value = benchmark.number("metrics", name, "successful", "mean")
        if value is not None and value > 0:
            measured[whole_run(metric)] = value * scale
    if whole_run("ttft_mean") not in measured:
        raise InputError(
            f"{benchmark.place()}: metrics.time_to_first_token_ms.successful.mean: is missing, or not positive"
        )
    arrivals: FloatArray
    if kind == "constant":
        arrivals = even_arrivals(count, rate)
    else:
        arrivals = gamma_arrivals(count, rate, 1.0, np.random.default_rng(seed))
    lengths = [
        benchmark.needed_count("metrics", f"{name}_token_count", "successful", "mean") for name in ("prompt", "output")
    ]
    run = BenchmarkRun(benchmark.place(), mean_requests(arrivals, *lengths), measured, limit)
    run.notes.append("requests are not in the file: all have the mean lengths, and arrivals follow the strategy")
    return run
