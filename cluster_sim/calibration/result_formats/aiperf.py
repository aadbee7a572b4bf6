"""AIPerf's results: one JSON line a request (``profile_export.jsonl``), or the aggregate of a run."""

from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np

from cluster_sim.calibration.benchmark_run import (
    BenchmarkRun,
    RequestTimes,
    gamma_arrivals,
    mean_requests,
    request_count,
    run_of_rows,
    whole_run,
)
from cluster_sim.calibration.result_file import ResultDocument
from cluster_sim.calibration.result_format import RESULT_FORMATS, ResultFormatOptions
from cluster_sim.errors import InputError
from cluster_sim.shown_values import by_number, counted
from cluster_sim.units import NS_PER_S

UNITS_S: Final = {"s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


class AiperfFormat(ResultFormatOptions):
    """AIPerf's profile_export.jsonl, one line a request, or profile_export_aiperf.json, one object a run."""

    kind: Literal["aiperf"] = "aiperf"


@RESULT_FORMATS.register("aiperf", AiperfFormat)
class AiperfReader:
    """Reads all lines of a file as one run, or each aggregate as one."""

    keys = frozenset({"metadata", "metrics", "request_latency", "time_to_first_token", "input_config", "request_count"})

    def recognises(self, first: object) -> bool:
        """Return whether a document is a record of a request, or an aggregate."""
        if not isinstance(first, dict):
            return False
        metadata = first.get("metadata")
        is_record = isinstance(metadata, dict) and "request_start_ns" in metadata
        return is_record or {"request_latency", "request_count"} <= first.keys()

    def read(self, documents: Sequence[ResultDocument], seed: int) -> list[BenchmarkRun]:
        """Return the run of all records, or one run an aggregate."""
        if "metadata" in documents[0].data:
            return [_run_of_records(documents)]
        return [_run_of_aggregate(document, seed) for document in documents]


def _run_of_records(documents: Sequence[ResultDocument]) -> BenchmarkRun:
    rows: list[tuple[float, float, float, float, float]] = []
    failed = warmup = 0
    for document in documents:
        if document.text_of("metadata", "benchmark_phase") in {"warmup", "WARMUP"}:
            warmup += 1
            continue
        if document.value("error") is not None or document.value("metadata", "was_cancelled"):
            failed += 1
            continue
        start_ns = document.needed("metadata", "request_start_ns")
        rows.append(
            (
                start_ns / NS_PER_S,
                _metric(document, "input_sequence_length", is_time=False),
                _metric(document, "output_sequence_length", is_time=False),
                _metric(document, "time_to_first_token", is_time=True),
                _metric(document, "request_latency", is_time=True),
            )
        )
    table = np.array(rows, np.float64).reshape(-1, 5)
    times = RequestTimes(
        table[:, 0], table[:, 1].astype(np.int64), table[:, 2].astype(np.int64), table[:, 3], table[:, 4]
    )
    run = run_of_rows(documents[0].place(), times, failed)
    if warmup:
        run.notes.append(f"{counted(warmup, 'request')} of the warm-up {by_number(warmup, 'is', 'are')} left out")
    return run


def _metric(document: ResultDocument, name: str, *, is_time: bool) -> float:
    value: Any = document.value("metrics", name)
    if isinstance(value, dict):
        figure = document.needed("metrics", name, "value")
        return figure * (_unit(document, "metrics", name, "unit") if is_time else 1.0)
    return document.needed("metrics", name) * (1e-3 if is_time else 1.0)


def _unit(document: ResultDocument, *keys: str) -> float:
    unit = document.text_of(*keys) or "ms"
    if unit not in UNITS_S:
        raise document.wrong(keys, f"one of {', '.join(UNITS_S)}", unit)
    return UNITS_S[unit]


def _run_of_aggregate(document: ResultDocument, seed: int) -> BenchmarkRun:
    count = request_count(document, document.number("request_count", "avg"), "request_count", "avg")
    measured = {}
    for name, metric in (
        ("time_to_first_token", "ttft_mean"),
        ("inter_token_latency", "tpot_mean"),
        ("request_latency", "e2e_mean"),
    ):
        value = document.number(name, "avg")
        if value is not None and value > 0:
            measured[whole_run(metric)] = value * _unit(document, name, "unit")
    if whole_run("ttft_mean") not in measured:
        raise InputError(f"{document.place()}: time_to_first_token.avg: is missing; only streamed requests have it")
    limit, rate = _load(document)
    arrivals = gamma_arrivals(count, rate, 1.0, np.random.default_rng(seed))
    requests = mean_requests(
        arrivals,
        document.needed_count("input_sequence_length", "avg"),
        document.needed_count("output_sequence_length", "avg"),
    )
    run = BenchmarkRun(document.place(), requests, measured, limit)
    run.notes.append("requests are not in the file: all have the mean lengths, and arrivals are drawn")
    return run


def _load(document: ResultDocument) -> tuple[int, float]:
    """Return the most requests in flight and the rate that the run was asked for."""
    for keys in (("input_config", "loadgen"), ("input_config",)):
        block = document.value(*keys)
        if isinstance(block, dict) and (block.get("concurrency") or block.get("request_rate")):
            limit, rate = document.limit(*keys, "concurrency"), document.limit(*keys, "request_rate")
            return int(limit or 0), rate or float("inf")
    raise InputError(
        f"{document.place()}: input_config.loadgen: neither concurrency nor request_rate is there, so the load is not "
        "known; use profile_export.jsonl"
    )
