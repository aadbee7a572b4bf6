"""Snapshots of a finished run on a grid of simulated time, as live metrics would have shown it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster_sim.errors import InputError
from cluster_sim.metrics.live import (
    EngineMembers,
    FleetLive,
    GenerationMeter,
    LiveSnapshot,
    PoolLive,
    RequestsLive,
    TrafficLive,
)
from cluster_sim.metrics.live_figures import FIGURES, WIDTH, EngineFigures, histogram_columns, idle_figures
from cluster_sim.metrics.live_ranks import RankFigures, rank_figures
from cluster_sim.metrics.request_totals import RequestTotals, rank_row
from cluster_sim.metrics.run_metadata import RunMetadata
from cluster_sim.recording.reasons import REASONS
from cluster_sim.recording.rows import FIELD, FLEET_FIELDS, ROW_FIELDS, RowBlock
from cluster_sim.recording.statuses import STATUSES
from cluster_sim.report.run_data import RunData
from cluster_sim.shown_values import counted
from cluster_sim.units import NS_PER_S

Int64Array = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

_TIMES: Final = ("arrival", "dispatch", "scheduled", "first_token", "finish", "transfer_start", "transfer")
_COUNTS: Final = (
    *("request_id", "replica", "prompt_tokens", "output_tokens", "cached_tokens", "preemptions", "retries"),
    *("attempts", "transfer_bytes", "rank"),
)
_WORDS: Final = {"status": STATUSES, "reason": REASONS}
_GAUGES: Final = ("running", "waiting", "kv_used_blocks")
_NS_OF_S: Final = {"itl_sum_ns": "itl_sum_s"}
"""Figures in ns that the series has in seconds."""


def replay(data: RunData, metadata: RunMetadata, members: EngineMembers, step_s: float) -> Iterator[LiveSnapshot]:
    """Yield a snapshot at 0, about every ``step_s`` simulated seconds at ticks of the series, and one of the end.

    Figures of engines are those of the series, and at the end those of the replicas' last counters.  Requests count
    when they end.  Wall time, the work of the protocol and that of stages are known for the end alone: the former two
    grow with simulated time, the latter with the steps of its replica.  Raises InputError if the run kept no series.
    """
    rows, ends_s = _rows(data, metadata)
    arrivals_s = np.sort(rows[:, FIELD["arrival_ns"]]) / NS_PER_S
    totals = RequestTotals(
        metadata.replicas,
        [pool.name for pool in metadata.pools],
        metadata.max_model_tokens,
        exact_limit=1,
        ranks=metadata.ranks,
    )
    replicas = _Replicas.of(data, metadata)
    totals.reserve(replicas.count)
    groups = members.groups(replicas.joined_pools)
    meter = GenerationMeter()
    done = 0
    end_s = float(data.summary["simulated_s"])
    wall_s = float(data.manifest.get("wall_s") or 0.0)
    traffic = data.manifest.get("traffic") or {}
    ranks = _RankStates.of(data, metadata, members, replicas.pool_of, step_s, end_s)
    final = _final(data, replicas.count)
    series = data.full_series()
    states = _states(data, series, series["replica"].astype(np.int64), final, step_s, end_s)
    for time_s, matrix in states:
        share = time_s / end_s if end_s else 1.0
        upto = int(np.searchsorted(ends_s, time_s, side="right"))
        totals.add(RowBlock(rows[done:upto], [""], [""], totals.pools))
        done = upto
        exists = replicas.exists(time_s)
        matrix[:, FIGURES["present"]] = exists
        engines = EngineFigures(matrix) if groups is None else EngineFigures(matrix).grouped(groups)
        snapshot = LiveSnapshot(
            simulated_s=time_s,
            wall_s=wall_s * share,
            speedup_ratio=1.0 if time_s else 0.0,
            arrived=int(np.searchsorted(arrivals_s, time_s, side="right")),
            engines=engines,
            requests=RequestsLive.copy_of(totals, groups),
            fleet=FleetLive(replicas.pools(time_s)),
            generation_rates=meter.measure(time_s, engines),
            traffic=TrafficLive(*(round(traffic.get(name, 0) * share) for name in TrafficLive._fields)),
            completed_ratio=upto / len(rows) if len(rows) else 1.0,
            joined_pools=replicas.joined_pools,
        )
        yield snapshot if ranks is None else ranks.shown(snapshot, totals, exists)


@dataclass(frozen=True, slots=True)
class _Replicas:
    """When the replicas of a run came and went."""

    pool_of: Int64Array
    joined_s: FloatArray
    left_s: FloatArray
    """Infinite for those that never left."""
    at_start: int
    pool_count: int

    @classmethod
    def of(cls, data: RunData, metadata: RunMetadata) -> "_Replicas":
        numbers = {pool.name: index for index, pool in enumerate(metadata.pools)}
        entries = data.summary["replicas"]
        left = [entry.get("left_s") for entry in entries]
        return cls(
            np.array([numbers[entry["pool"]] for entry in entries], np.int64),
            np.array([entry.get("joined_s") or 0.0 for entry in entries], np.float64),
            np.array([np.inf if time_s is None else time_s for time_s in left], np.float64),
            metadata.replicas,
            len(metadata.pools),
        )

    @property
    def count(self) -> int:
        return len(self.pool_of)

    @property
    def joined_pools(self) -> list[int]:
        """Pools of the replicas that have joined during the run."""
        pools: list[int] = self.pool_of[self.at_start :].tolist()
        return pools

    def exists(self, time_s: float) -> npt.NDArray[np.bool_]:
        """Return which replicas there are."""
        here: npt.NDArray[np.bool_] = (self.joined_s <= time_s) & (time_s < self.left_s)
        return here

    def pools(self, time_s: float) -> tuple[PoolLive, ...]:
        """Return how many replicas each pool has, and how many have come and gone."""
        here = self.exists(time_s)
        has_joined = (self.joined_s <= time_s) & (np.arange(self.count) >= self.at_start)
        has_left = self.left_s <= time_s
        counts = [np.bincount(self.pool_of[mask], minlength=self.pool_count) for mask in (here, has_joined, has_left)]
        return tuple(
            PoolLive(int(ready), joined=int(joined), left=int(left))
            for ready, joined, left in zip(*counts, strict=True)
        )


def _rows(data: RunData, metadata: RunMetadata) -> tuple[Int64Array, FloatArray]:
    """Return the request rows in the order of their ends, and those ends; rows without an end come last."""
    table = data.requests([*(f"{name}_s" for name in _TIMES), *_COUNTS, *_WORDS])
    times = {name: _numbers(table.column(f"{name}_s"), -1e-9) for name in _TIMES}
    rows = np.zeros((table.num_rows, len(ROW_FIELDS)), np.int64)
    rows[:, FIELD[FLEET_FIELDS[0]] :] = -1
    for name, values in times.items():
        rows[:, FIELD[f"{name}_ns"]] = np.rint(values * NS_PER_S)
    for name in _COUNTS:
        rows[:, FIELD[name]] = _numbers(table.column(name), -1)
    for name, words in _WORDS.items():
        codes = {word: code for code, word in enumerate(words)}
        texts = table.column(name).cast(pa.string()).to_pylist()
        rows[:, FIELD[name]] = [codes[text or ""] if text or name == "reason" else -1 for text in texts]
    replica = rows[:, FIELD["replica"]]
    numbers = {pool.name: index for index, pool in enumerate(metadata.pools)}
    pool_of = np.array([numbers[entry["pool"]] for entry in data.summary["replicas"]], np.int64)
    rows[:, FIELD["pool"]] = np.where(replica >= 0, pool_of[replica], -1) if len(pool_of) else -1
    ends_at_once = (rows[:, FIELD["status"]] != STATUSES.index("unfinished")) & (times["finish"] < 0)
    ends_s = np.where(ends_at_once, times["arrival"], np.where(times["finish"] < 0, np.inf, times["finish"]))
    # What the run's end cuts off ends there.
    ends_s[np.isinf(ends_s)] = float(data.summary["simulated_s"])
    order = np.argsort(ends_s, kind="stable")
    return rows[order], ends_s[order]


class _RankStates:
    """The rows of data-parallel ranks at the times of the snapshots."""

    def __init__(self, figures: RankFigures, states: Iterator[tuple[float, Int64Array]], ranks_of: Int64Array) -> None:
        self._figures = figures
        self._states = states
        self._ranks_of = ranks_of

    @classmethod
    def of(
        cls,
        data: RunData,
        metadata: RunMetadata,
        members: EngineMembers,
        pool_of: Int64Array,
        step_s: float,
        end_s: float,
    ) -> "_RankStates | None":
        """Return those of a run whose page shows ranks; None for others, and runs that kept no series of them."""
        figures, series = rank_figures(metadata, members), data.rank_series()
        if figures is None or series is None:
            return None
        most = metadata.ranks
        ranks_of = np.array([pool.ranks for pool in metadata.pools], np.int64)[pool_of]
        replica = np.repeat(np.arange(len(ranks_of)), np.where(ranks_of > 1, ranks_of, 0))
        first = np.flatnonzero(np.diff(replica, prepend=-1))
        rank = np.arange(len(replica)) - np.repeat(first, np.diff(first, append=len(replica)))
        final = np.zeros((len(ranks_of) * most, WIDTH), np.int64)
        final[rank_row(replica, rank, most)] = data.rank_counters()
        place = rank_row(series["replica"].astype(np.int64), series["rank"].astype(np.int64), most)
        return cls(figures, _states(data, series, place, final, step_s, end_s), ranks_of)

    def shown(self, snapshot: LiveSnapshot, totals: RequestTotals, exists: npt.NDArray[np.bool_]) -> LiveSnapshot:
        """Return the next snapshot with its ranks; replicas without any have their own row."""
        _, matrix = next(self._states)
        rows = matrix.reshape(len(self._ranks_of), -1, WIDTH)
        alone = self._ranks_of == 1
        rows[alone, 0] = snapshot.engines.matrix[alone]
        is_rank = np.arange(rows.shape[1]) < self._ranks_of[:, None]
        rows[:, :, FIGURES["present"]] = is_rank & exists[:, None]
        self._figures.take_all(matrix)
        return self._figures.shown(snapshot, totals)


def _states(
    data: RunData, series: dict[str, FloatArray], at: Int64Array, final: Int64Array, step_s: float, end_s: float
) -> Iterator[tuple[float, Int64Array]]:
    """Yield (time, rows of ``metrics.live_figures``) at 0, about every ``step_s``, and at the end.

    ``at`` says whose row each row of ``series`` is, ``final`` are the last ones.
    """
    replicas = len(final)
    ticks = data.ticks_s()
    tick_index = np.searchsorted(ticks, series["time_s"])
    if not len(ticks):
        raise InputError(
            f"{data.directory}: the run of {end_s:g} s has no tick in its series; run it again with "
            "run.series_interval_s above 0 and shorter than the run"
        )
    place = at
    order = np.argsort(tick_index, kind="stable")
    stride = max(1, round(step_s / float(ticks[0])))
    names = {name: index for name, index in FIGURES.items() if _NS_OF_S.get(name, name) in series}
    increments = {index: series[_NS_OF_S.get(name, name)] for name, index in names.items() if name not in _GAUGES}
    busy_ns = final[:, FIGURES["busy_ns"]] / np.maximum(final[:, FIGURES["iterations"]], 1)
    figures = idle_figures(replicas)
    yield 0.0, figures.copy()
    starts = np.searchsorted(tick_index[order], np.arange(len(ticks) + 1))
    spans = histogram_columns(series)
    for tick in range(len(ticks)):
        chosen = order[starts[tick] : starts[tick + 1]]
        rows = place[chosen]
        for index, values in increments.items():
            scale = NS_PER_S if index == FIGURES["itl_sum_ns"] else 1
            figures[rows, index] += np.rint(values[chosen] * scale).astype(np.int64)
        for columns, values in spans:
            figures[rows[:, None], columns] += np.rint(values[chosen]).astype(np.int64)
        if (tick + 1) % stride == 0 and ticks[tick] < end_s:
            for name in _GAUGES:
                figures[:, FIGURES[name]] = 0
                figures[rows, FIGURES[name]] = series[name][chosen].astype(np.int64)
            figures[:, FIGURES["busy_ns"]] = np.rint(busy_ns * figures[:, FIGURES["iterations"]])
            figures[:, FIGURES["iteration_tokens_sum"]] = _iteration_tokens(figures)
            yield float(ticks[tick]), figures.copy()
    yield end_s, final


def _final(data: RunData, replicas: int) -> Int64Array:
    final = data.final_counters()
    if final.shape != (replicas, WIDTH):
        raise InputError(
            f"{data.directory}: counters.parquet has {counted(len(final), 'replica')}, summary.json {replicas}"
        )
    return final


def _iteration_tokens(figures: Int64Array) -> Int64Array:
    """Return the sums behind the histograms of tokens per iteration: whole prompts and generated tokens."""
    engines = EngineFigures(figures)
    sums: Int64Array = engines.prefilled_tokens + engines.figure("generated_tokens")
    return sums


def _numbers(column: pa.ChunkedArray, missing: float) -> FloatArray:
    values: FloatArray = column.cast(pa.float64()).fill_null(missing).combine_chunks().to_numpy()
    return values
