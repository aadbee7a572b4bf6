"""A user's own benchmark as a case: the JSON of ``vllm bench serve``, or a table with one row per request."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from cluster_sim.calibration.case import WHOLE_RUN, Case, FloatArray, Int64Array, Key, Requests
from cluster_sim.calibration.latency_figures import figures
from cluster_sim.calibration.tables import column, read_json, read_rows
from cluster_sim.errors import InputError

JSON_MEANS: Final = {"mean_ttft_ms": "ttft_mean", "mean_tpot_ms": "tpot_mean", "mean_e2el_ms": "e2e_mean"}
TABLE_COLUMNS: Final = ("arrival_s", "input_tokens", "output_tokens", "ttft_s", "e2e_s")
LARGEST_PLAUSIBLE_S: Final = 3600.0
"""A mean latency beyond this is a wrong unit."""


@dataclass(frozen=True, slots=True)
class Server:
    """Server that was benchmarked; the benchmark's own output does not describe it."""

    model: str
    device: str
    tensor_parallel: int
    engine: dict[str, Any]


def load_benchmark(path: Path, server: Server, seed: int = 0) -> Case:
    """Read ``path``: ``.json`` is the output of ``vllm bench serve``, anything else a CSV table (also compressed).

    Raises InputError with file and field for anything missing, negative or off by a unit.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if path.suffix == ".json":
        return _from_json(path, server, seed)
    return _from_table(path, server)


def _from_table(path: Path, server: Server) -> Case:
    rows = read_rows(path, TABLE_COLUMNS)
    if not rows:
        raise InputError(f"{path}: has no rows")
    try:
        rows.sort(key=lambda row: float(row["arrival_s"]))
        arrival_s, ttft_s, e2e_s = (column(rows, name) for name in ("arrival_s", "ttft_s", "e2e_s"))
        prompts, outputs = (column(rows, name).astype(np.int64) for name in ("input_tokens", "output_tokens"))
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    for number, (ttft, e2e) in enumerate(zip(ttft_s.tolist(), e2e_s.tolist(), strict=True), 2):
        if ttft < 0 or e2e < ttft:
            raise InputError(f"{path}: row {number} in order of arrival has ttft_s {ttft} and e2e_s {e2e}")
    return _case(
        path,
        server,
        arrival_s,
        prompts,
        outputs,
        figures(ttft_s, e2e_s, arrival_s, outputs, np.zeros(len(rows), np.int64)),
        0,
    )


def _from_json(path: Path, server: Server, seed: int) -> Case:
    record = read_json(path)
    if not isinstance(record, dict) or "num_prompts" not in record:
        raise InputError(f"{path}: not the output of vllm bench serve: num_prompts is missing")
    count = int(record.get("completed") or record["num_prompts"])
    if count < 1:
        raise InputError(f"{path}: completed: no request was completed")
    prompts = _lengths(record, "input_lens", "total_input_tokens", count)
    outputs = _lengths(record, "output_lens", "total_output_tokens", count)
    rng = np.random.default_rng(seed)
    arrival_s = _arrivals(record, count, rng)
    measured: dict[Key, float] = {}
    for name, metric in JSON_MEANS.items():
        value = record.get(name)
        if isinstance(value, int | float) and value > 0:
            measured[WHOLE_RUN, metric] = float(value) / 1e3
    if (WHOLE_RUN, "ttft_mean") not in measured or (WHOLE_RUN, "tpot_mean") not in measured:
        raise InputError(f"{path}: mean_ttft_ms and mean_tpot_ms are needed, and positive")
    limit = record.get("max_concurrency")
    return _case(path, server, arrival_s, prompts, outputs, measured, int(limit) if limit else 0)


def _lengths(record: dict[str, Any], detailed: str, total: str, count: int) -> Int64Array:
    """Return lengths request by request where they were saved, else the mean of all."""
    values = record.get(detailed)
    if isinstance(values, list) and len(values) == count:
        return np.maximum(1, np.array(values, np.int64))
    if total not in record:
        raise InputError(f"neither {detailed} nor {total} is in the benchmark's output")
    return np.full(count, max(1, round(float(record[total]) / count)), np.int64)


def _arrivals(record: dict[str, Any], count: int, rng: np.random.Generator) -> FloatArray:
    """Return the saved sending times, else arrivals like the benchmark's: gamma gaps at its rate, or all at once."""
    starts = record.get("start_times")
    if isinstance(starts, list) and len(starts) == count:
        times = np.sort(np.array(starts, np.float64))
        relative: FloatArray = times - times[0]
        return relative
    rate = record.get("request_rate", "inf")
    if rate in {"inf", None} or not math.isfinite(float(rate)):
        return np.zeros(count)
    shape = float(record.get("burstiness") or 1.0)
    gaps = rng.gamma(shape, 1.0 / (float(rate) * shape), count)
    times_s: FloatArray = np.cumsum(gaps) - gaps[0]
    return times_s


def _case(
    path: Path,
    server: Server,
    arrival_s: FloatArray,
    prompts: Int64Array,
    outputs: Int64Array,
    measured: dict[Key, float],
    limit: int,
) -> Case:
    for (_, metric), value in measured.items():
        if metric.endswith("_mean") and value > LARGEST_PLAUSIBLE_S:
            raise InputError(f"{path}: {metric} is {value:.0f} s: a unit is wrong (milliseconds read as seconds?)")
    return Case(
        dataset="benchmark",
        run=path.name,
        model=server.model,
        device=server.device,
        tensor_parallel=server.tensor_parallel,
        workload=path.name,
        requests=Requests(arrival_s, prompts, outputs, np.zeros(len(arrival_s), np.int64)),
        engine=server.engine,
        in_flight_limit=limit,
        measured=measured,
        fold=path.name,
    )
