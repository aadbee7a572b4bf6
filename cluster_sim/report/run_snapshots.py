"""Snapshots of a finished run on a grid of simulated time, as live metrics would have shown it."""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster_sim.errors import InputError
from cluster_sim.metrics.live import LiveSnapshot, ReplicaLive, RequestsLive, idle_replica, opening_snapshot
from cluster_sim.metrics.request_totals import SUMS, RequestTotals
from cluster_sim.metrics.run_metadata import RunMetadata
from cluster_sim.recording.replica_log import ReplicaCounters
from cluster_sim.recording.rows import FIELD, FLEET_FIELDS, ROW_FIELDS, RowBlock
from cluster_sim.recording.statuses import STATUSES
from cluster_sim.report.run_data import RunData
from cluster_sim.units import NS_PER_S

Int64Array = npt.NDArray[np.int64]

_TIMES: Final = ("arrival", "dispatch", "scheduled", "first_token", "finish")
_COUNTS: Final = ("request_id", "replica", "prompt_tokens", "output_tokens", "cached_tokens", "preemptions", "retries")
_STEPS: Final = ("iterations", "prompt_tokens", "generated_tokens")
_PREEMPTIONS: Final = SUMS.index("preemptions")


def replay(data: RunData, metadata: RunMetadata, step_s: float) -> Iterator[LiveSnapshot]:
    """Yield a snapshot at 0, about every ``step_s`` simulated seconds at ticks of the series, and one after the end.

    Gauges and token counters are those of the series.  Requests count when they end.  Raises InputError if the run kept
    no series.
    """
    rows, ends_s = _rows(data, metadata)
    arrivals_s = np.sort(rows[:, FIELD["arrival_ns"]]) / NS_PER_S
    totals = RequestTotals(
        metadata.replicas, [pool.name for pool in metadata.pools], metadata.max_model_tokens, exact_limit=1
    )
    count = max(metadata.replicas, len(data.summary["replicas"]))
    totals.reserve(count)
    numbers = {pool.name: index for index, pool in enumerate(metadata.pools)}
    joined_pools = [numbers[entry["pool"]] for entry in data.summary["replicas"][metadata.replicas :]]
    done = 0
    yield opening_snapshot(count, totals, joined_pools)
    for time_s, replicas in _states(data, count, step_s, float(data.summary["simulated_s"])):
        upto = int(np.searchsorted(ends_s, time_s, side="right"))
        totals.add(RowBlock(rows[done:upto], [""], [""], totals.pools))
        done = upto
        preemptions = totals.sums[:, _PREEMPTIONS].tolist()
        yield LiveSnapshot(
            simulated_s=time_s,
            wall_s=time_s,
            speedup_ratio=1.0,
            arrived=int(np.searchsorted(arrivals_s, time_s, side="right")),
            replicas=[
                replica._replace(counters=replica.counters._replace(preemptions=count))
                for replica, count in zip(replicas, preemptions, strict=True)
            ],
            requests=RequestsLive.copy_of(totals),
            joined_pools=joined_pools,
        )


def _rows(data: RunData, metadata: RunMetadata) -> tuple[Int64Array, npt.NDArray[np.float64]]:
    """Return the request rows in the order of their ends, and those ends; rows without an end come last."""
    times = {name: _numbers(data.requests([f"{name}_s"]).column(0), -1e-9) for name in _TIMES}
    counts = {name: _numbers(data.requests([name]).column(0), -1) for name in _COUNTS}
    status = data.requests(["status"]).column(0).cast(pa.string()).to_pylist()
    codes = {word: code for code, word in enumerate(STATUSES)}
    rows = np.full((len(status), len(ROW_FIELDS)), 0, np.int64)
    rows[:, FIELD[FLEET_FIELDS[0]] :] = -1
    for name, values in times.items():
        rows[:, FIELD[f"{name}_ns"]] = np.rint(values * NS_PER_S)
    for name, values in counts.items():
        rows[:, FIELD[name]] = values
    rows[:, FIELD["status"]] = [codes[word] for word in status]
    replica = rows[:, FIELD["replica"]]
    numbers = {pool.name: index for index, pool in enumerate(metadata.pools)}
    pool_of = np.array([numbers[entry["pool"]] for entry in data.summary["replicas"]], np.int64)
    rows[:, FIELD["pool"]] = np.where(replica >= 0, pool_of[replica], -1) if len(pool_of) else -1
    ends_at_once = (rows[:, FIELD["status"]] != codes["unfinished"]) & (times["finish"] < 0)
    ends_s = np.where(ends_at_once, times["arrival"], np.where(times["finish"] < 0, np.inf, times["finish"]))
    order = np.argsort(ends_s, kind="stable")
    return rows[order], ends_s[order]


def _states(data: RunData, replicas: int, step_s: float, end_s: float) -> Iterator[tuple[float, list[ReplicaLive]]]:
    """Yield (time, state of every replica) about every ``step_s``, and once after ``end_s`` with the rest."""
    series = data.full_series()
    ticks, tick_index = np.unique(series["time_s"], return_inverse=True)
    if not len(ticks):
        raise InputError(
            f"{data.directory}: the run of {end_s:g} s has no tick in its series; run it again with "
            "run.series_interval_s above 0 and shorter than the run"
        )
    interval_s = float(ticks[0])
    stride = max(1, round(step_s / interval_s))
    samples = np.append(np.arange(stride - 1, len(ticks), stride), len(ticks) - 1)
    place = (tick_index, series["replica"].astype(np.int64))
    cumulative = {
        name: _cumulative(values, place, (len(ticks), replicas), samples)
        for name, values in series.items()
        if name in (*_STEPS, "itl_sum_s", "itl_counts", "iteration_tokens_counts")
    }
    gauges = {}
    for name in ("running", "waiting", "kv_used_ratio"):
        grid = np.zeros((len(ticks), replicas))
        grid[place] = series[name]
        gauges[name] = grid[samples]
    for row, sample in enumerate(samples[:-1].tolist()):
        yield float(ticks[sample]), [_live(cumulative, gauges, row, replica) for replica in range(replicas)]
    after_s = (int(max(end_s, ticks[-1]) / (stride * interval_s)) + 1) * stride * interval_s
    states = [_live(cumulative, gauges, len(samples) - 1, replica) for replica in range(replicas)]
    yield after_s, [state._replace(running=0, waiting=0, kv_used_ratio=0.0) for state in states]


def _live(cumulative: dict[str, Any], gauges: dict[str, Any], row: int, replica: int) -> ReplicaLive:
    figures = {name: values[row, replica].tolist() for name, values in cumulative.items()}
    base: ReplicaCounters = idle_replica().counters
    return ReplicaLive(
        int(gauges["running"][row, replica]),
        int(gauges["waiting"][row, replica]),
        float(gauges["kv_used_ratio"][row, replica]),
        base._replace(
            iterations=int(figures["iterations"]),
            prompt_tokens=int(figures["prompt_tokens"]),
            generated_tokens=int(figures["generated_tokens"]),
            iteration_tokens_counts=[int(count) for count in figures["iteration_tokens_counts"]],
            iteration_tokens_sum=int(figures["prompt_tokens"] + figures["generated_tokens"]),
            itl_counts=[int(count) for count in figures["itl_counts"]],
            itl_sum_ns=round(figures["itl_sum_s"] * NS_PER_S),
        ),
    )


def _cumulative(values: Any, place: Any, shape: tuple[int, int], samples: Int64Array) -> npt.NDArray[np.float64]:
    """Return the cumulative sums at each of ``samples``, [samples, replicas, ...]."""
    grid = np.zeros((*shape, *values.shape[1:]))
    grid[place] = values
    sums: npt.NDArray[np.float64] = np.cumsum(grid, axis=0)[samples]
    return sums


def _numbers(column: pa.ChunkedArray, missing: float) -> npt.NDArray[np.float64]:
    values: npt.NDArray[np.float64] = column.cast(pa.float64()).fill_null(missing).combine_chunks().to_numpy()
    return values
