"""llm-d's benchmark report 0.2: the aggregate of one run with the stack that served it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, Literal

import numpy as np

from cluster_sim.calibration.benchmark_run import (
    BenchmarkRun,
    gamma_arrivals,
    mean_requests,
    note_failures,
    request_count,
    whole_run,
)
from cluster_sim.calibration.result_file import ResultDocument
from cluster_sim.calibration.result_format import RESULT_FORMATS, ResultFormatOptions
from cluster_sim.errors import InputError

ROOT: Final = ("results", "request_performance", "aggregate")
FIGURES: Final = (
    ("time_to_first_token", "ttft_mean"),
    ("time_per_output_token", "tpot_mean"),
    ("inter_token_latency", "tpot_mean"),
    ("request_latency", "e2e_mean"),
)
UNITS_S: Final = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "s/token": 1.0, "ms/token": 1e-3}


class LlmDReportFormat(ResultFormatOptions):
    """llm-d's benchmark report 0.2 (YAML or JSON), one run."""

    kind: Literal["llm_d_report"] = "llm_d_report"


@RESULT_FORMATS.register("llm_d_report", LlmDReportFormat)
class LlmDReportReader:
    """Reads the aggregate of a report."""

    keys = frozenset({"version", "run", "scenario", "results"})

    def recognises(self, first: object) -> bool:
        """Return whether a document has a scenario and the results of its requests."""
        if not isinstance(first, dict) or not isinstance(first.get("results"), dict):
            return False
        return "request_performance" in first["results"]

    def read(self, documents: Sequence[ResultDocument], seed: int) -> list[BenchmarkRun]:
        """Return one run a document."""
        return [_run(document, seed) for document in documents]


def _run(report: ResultDocument, seed: int) -> BenchmarkRun:
    total = report.needed(*ROOT, "requests", "total")
    failed = report.count(*ROOT, "requests", "failures") or 0
    count = request_count(report, total - failed, *ROOT, "requests", "total")
    measured: dict[tuple[int, str], float] = {}
    for name, metric in FIGURES:
        value = report.number(*ROOT, "latency", name, "mean")
        if value is None or value <= 0:
            continue
        unit = report.text_of(*ROOT, "latency", name, "units") or "s"
        if unit not in UNITS_S:
            raise report.wrong((*ROOT, "latency", name, "units"), f"one of {', '.join(UNITS_S)}", unit)
        measured.setdefault(whole_run(metric), value * UNITS_S[unit])
    if whole_run("ttft_mean") not in measured:
        raise InputError(f"{report.place(*ROOT)}: {'.'.join(ROOT)}.latency.time_to_first_token.mean: is missing")
    load = ("scenario", "load", "standardized")
    rate, limit = report.limit(*load, "rate_qps"), report.limit(*load, "concurrency")
    is_limited = limit is not None and limit > 0
    if not rate and not is_limited:
        raise InputError(
            f"{report.place(*load)}: {'.'.join(load)}: neither rate_qps nor concurrency is there, "
            "so the load is not known"
        )
    arrivals = gamma_arrivals(count, rate or float("inf"), 1.0, np.random.default_rng(seed))
    lengths = [report.needed_count(*ROOT, "requests", f"{name}_length", "mean") for name in ("input", "output")]
    run = BenchmarkRun(
        report.place(), mean_requests(arrivals, *lengths), measured, int(limit or 0) if is_limited else 0
    )
    run.notes.append("requests are not in the file: all have the mean lengths, and arrivals are drawn at its rate")
    note_failures(run, failed, int(total))
    _describe_stack(report, run)
    return run


def _describe_stack(report: ResultDocument, run: BenchmarkRun) -> None:
    """Take model, replicas and degree from the inference engine of the stack."""
    parts: list[Any] = report.items("scenario", "stack")
    for part in parts:
        engine = replace(report, data=part)
        if engine.text_of("standardized", "kind") != "inference_engine":
            continue
        if engine.text_of("standardized", "role") == "prefill":
            raise InputError(f"{report.place('scenario', 'stack')}: prefill in servers of its own is not modelled")
        run.model = engine.text_of("standardized", "model", "name")
        run.replicas = engine.count("standardized", "replicas") or 1
        run.tensor_parallel = engine.count("standardized", "accelerator", "parallelism", "tp")
