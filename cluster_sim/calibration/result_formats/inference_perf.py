"""inference-perf's reports: requests one by one, or the summary of a run or of a stage."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Literal

import numpy as np

from cluster_sim.calibration.benchmark_run import (
    BenchmarkRun,
    RequestTimes,
    gamma_arrivals,
    mean_requests,
    note_failures,
    request_count,
    run_of_rows,
    whole_run,
)
from cluster_sim.calibration.result_file import ResultDocument, is_number
from cluster_sim.calibration.result_format import RESULT_FORMATS, ResultFormatOptions
from cluster_sim.errors import InputError

FIGURES: Final = (
    ("time_to_first_token", "ttft_mean"),
    ("time_per_output_token", "tpot_mean"),
    ("inter_token_latency", "tpot_mean"),
    ("request_latency", "e2e_mean"),
)
"""In seconds; of two for one figure the first counts."""


class InferencePerfFormat(ResultFormatOptions):
    """inference-perf's per_request, stage_N and summary lifecycle metrics."""

    kind: Literal["inference_perf"] = "inference_perf"


@RESULT_FORMATS.register("inference_perf", InferencePerfFormat)
class InferencePerfReader:
    """Reads a list of requests as one run, or each summary as one."""

    keys = frozenset({"load_summary", "successes", "failures", "start_time", "end_time", "info"})

    def recognises(self, first: object) -> bool:
        """Return whether a document is a list of requests with their info, or a summary."""
        if isinstance(first, list):
            return bool(first) and isinstance(first[0], dict) and {"start_time", "end_time", "info"} <= first[0].keys()
        return isinstance(first, dict) and {"load_summary", "successes"} <= first.keys()

    def read(self, documents: Sequence[ResultDocument], seed: int) -> list[BenchmarkRun]:
        """Return one run a document."""
        return [
            _of_requests(document) if isinstance(document.data, list) else _of_summary(document, seed)
            for document in documents
        ]


def _of_requests(document: ResultDocument) -> BenchmarkRun:
    rows = []
    failed = 0
    for index, row in enumerate(document.data):
        if not isinstance(row, dict):
            raise InputError(f"{document.place()}: item {index}: must be a mapping of keys to values; got {row!r:.60}")
        request = replace(document, data=row)
        token_times = request.items("info", "output_token_times")
        if row.get("error") is not None or not token_times:
            failed += 1
            continue
        start = request.needed("start_time")
        last = token_times[-1]
        if not is_number(token_times[0]) or not is_number(last):
            raise request.wrong(("info", "output_token_times"), f"a list of numbers (item {index})", token_times[0])
        output = request.count("info", "output_tokens") or float(len(token_times))
        rows.append((start, request.needed_count("info", "input_tokens"), output, token_times[0] - start, last - start))
    table = np.array(rows, np.float64).reshape(-1, 5)
    times = RequestTimes(
        table[:, 0], table[:, 1].astype(np.int64), table[:, 2].astype(np.int64), table[:, 3], table[:, 4]
    )
    return run_of_rows(document.place(), times, failed)


def _of_summary(document: ResultDocument, seed: int) -> BenchmarkRun:
    count = request_count(document, document.number("successes", "count"), "successes", "count")
    measured: dict[tuple[int, str], float] = {}
    for name, metric in FIGURES:
        value = document.number("successes", "latency", name, "mean")
        if value is not None and value > 0:
            measured.setdefault(whole_run(metric), value)
    if whole_run("ttft_mean") not in measured:
        raise InputError(
            f"{document.place()}: successes.latency.time_to_first_token.mean: is missing; streamed requests have it"
        )
    rate = document.number("load_summary", "requested_rate") or document.number("load_summary", "achieved_rate")
    if not rate:
        duration = document.number("load_summary", "send_duration")
        if not duration:
            raise InputError(
                f"{document.place('load_summary')}: load_summary: neither requested_rate nor send_duration is there, "
                "so the load is not known; use per_request_lifecycle_metrics.json"
            )
        rate = count / duration
    arrivals = gamma_arrivals(count, rate, 1.0, np.random.default_rng(seed))
    lengths = [document.needed_count("successes", f"{name}_len", "mean") for name in ("prompt", "output")]
    run = BenchmarkRun(document.place(), mean_requests(arrivals, *lengths), measured)
    run.notes.append("requests are not in the file: all have the mean lengths, and arrivals are drawn at its rate")
    failed = document.count("failures", "count") or 0
    note_failures(run, failed, count + failed)
    return run
