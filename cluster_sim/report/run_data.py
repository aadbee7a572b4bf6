"""Complete runs, read back from their directories for reports."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from cluster_sim.document import Document
from cluster_sim.errors import InputError
from cluster_sim.metrics.run_summary import SUMMARY_VERSION
from cluster_sim.output.counters_table import COUNTERS_FILE, RANK_COUNTERS_FILE, read_counters
from cluster_sim.output.idle_rows import IdleReplicas, read_series
from cluster_sim.output.request_rows import check_latencies, check_row_count
from cluster_sim.output.run_directory import (
    MANIFEST_FILE,
    REQUESTS_FILE,
    RESOLVED_FILE,
    SERIES_FILE,
    SUMMARY_FILE,
)
from cluster_sim.output.run_identity import check_identity, check_resolved
from cluster_sim.output.series_table import RANK_SCHEMA, RANK_SERIES_FILE, SERIES_SCHEMA
from cluster_sim.plain_file import check_plain, read_text
from cluster_sim.recording.buckets import TOKEN_GAP_S
from cluster_sim.recording.rows import TIMELINE_FIELDS
from cluster_sim.report.earlier_summary import WHOLE_RUN, from_whole_run
from cluster_sim.shown_values import counted, cut, shown_path
from cluster_sim.units import NS_PER_S

FloatArray = npt.NDArray[np.float64]

_SERIES: Final = ("time_s", "replica", "running", "waiting", "kv_used_ratio", "prompt_tokens", "generated_tokens")
_LATER: Final = frozenset(
    {*(f"{name.removesuffix('_ns')}_s" for name in TIMELINE_FIELDS), "preemption_starts_s", "preemption_ends_s"}
)
"""Columns of requests that tables of earlier releases may lack."""
_NEEDED: Final = (
    *("name", "seed", "simulated_s", "requests", "slo", "throughput", "pools", "replicas", "checks", "energy"),
    *("predictor_coverage", "ttft_s", "tpot_s", "itl_s", "e2e_s", "queue_s", "cost_usd"),
)
"""Keys of a summary without which nothing can be said of a run."""


@dataclass(frozen=True, slots=True)
class RunData:
    """The files of one run; its tables are read column by column."""

    directory: Path
    summary: dict[str, Any]
    manifest: dict[str, Any]
    resolved: str
    """The study with every default, as YAML."""

    @classmethod
    def read(cls, directory: Path, *, takes_estimates: bool = False) -> "RunData":
        """Read the small files of a run; raises InputError if ``directory`` is not that of a complete run, or has files
        of another.  An estimate, which has no tables, is one only if ``takes_estimates``.
        """
        for name in (SUMMARY_FILE, MANIFEST_FILE, RESOLVED_FILE):
            if not os.path.lexists(directory / name):
                lacks = f"it has no {name}" if directory.is_dir() else "there is none"
                raise InputError(f"{shown_path(directory)}: is not the directory of a complete run: {lacks}")
        run = cls(
            directory,
            _read_json(directory / SUMMARY_FILE),
            _read_json(directory / MANIFEST_FILE),
            read_text(directory / RESOLVED_FILE),
        )
        is_estimate = run.summary.get("detail") == "estimate"
        if is_estimate and not takes_estimates:
            raise InputError(
                f"{shown_path(directory)}: is an estimate (run.detail: estimate), which has no requests to report on; "
                f"its figures are in {SUMMARY_FILE}"
            )
        version = run.summary.get("summary_version")
        lacking = [key for key in _NEEDED if key not in run.summary and not is_estimate]
        if version in {WHOLE_RUN, SUMMARY_VERSION} and lacking:
            raise InputError(
                f"{shown_path(directory / SUMMARY_FILE)}: lacks {', '.join(lacking)}, which every run writes"
            )
        if version == WHOLE_RUN:
            run = replace(run, summary=from_whole_run(run.summary, SUMMARY_VERSION))
        elif version != SUMMARY_VERSION:
            raise InputError(
                f"{directory / SUMMARY_FILE}: has summary_version {version}, but this program reads {SUMMARY_VERSION}; "
                f"run {directory / RESOLVED_FILE} again"
            )
        if not is_estimate:
            with undamaged(directory):
                run.check_tables()
        check_resolved(directory / RESOLVED_FILE, run.resolved, run.manifest)
        return run

    def check_tables(self) -> None:
        """Raise InputError if a table is of another run than the summary, as far as that is told without reading it
        all: by the number of requests and their end-to-end times, by the last tick and replica of the series, and by
        what each says of its run.
        """
        check_row_count(self.directory / REQUESTS_FILE, self.request_count(), self.summary)
        with self._reading(REQUESTS_FILE) as path:
            check_latencies(path, self.summary)
        if os.path.lexists(self.directory / SERIES_FILE):
            self._check_series(self.summary["simulated_s"], len(self.summary["replicas"]))
        for name in (REQUESTS_FILE, SERIES_FILE, COUNTERS_FILE, RANK_SERIES_FILE, RANK_COUNTERS_FILE):
            check_identity(self.directory / name, self.manifest)

    def _check_series(self, end_s: float, replicas: int) -> None:
        last = {"time_s": 0.0, "replica": 0}
        with self._reading(SERIES_FILE) as path:
            metadata = pq.read_metadata(path)
        for group in map(metadata.row_group, range(metadata.num_row_groups)):
            for column in map(group.column, range(metadata.num_columns)):
                known = column.statistics if column.path_in_schema in last else None
                if known is not None and known.has_min_max:
                    last[column.path_in_schema] = max(last[column.path_in_schema], known.max)
        if last["time_s"] > end_s + 1 / NS_PER_S or last["replica"] >= max(replicas, 1):
            raise InputError(
                f"{self.directory / SERIES_FILE}: goes up to {last['time_s']:g} s and replica {last['replica']}, but "
                f"summary.json beside it has {counted(replicas, 'replica')} up to {end_s:g} s: they are not of one run"
            )

    def study(self) -> dict[str, Any]:
        """Return the study with every default; raises InputError if its file is damaged."""
        return Document.parse(self.resolved, str(self.directory / RESOLVED_FILE)).data

    def request_count(self) -> int:
        """Return how many requests ``requests.parquet`` has."""
        with self._reading(REQUESTS_FILE) as path:
            rows: int = pq.read_metadata(path).num_rows
        return rows

    def requests(self, columns: list[str], request_id: int | None = None) -> pa.Table:
        """Read columns of ``requests.parquet``, of all requests or of one; those of later releases may be all null."""
        only = None if request_id is None else [("request_id", "==", request_id)]
        unknown = _LATER.intersection(columns) - self._names(REQUESTS_FILE)
        table = self._table(REQUESTS_FILE, [name for name in columns if name not in unknown], only)
        for name in sorted(unknown):
            table = table.append_column(name, pa.nulls(len(table), pa.float64()))
        return table

    def request_columns(self, *columns: str) -> list[FloatArray]:
        """Read columns of ``requests.parquet`` as float64, with NaN for null."""
        table = self.requests(list(columns))
        return [_floats(table.column(name)) for name in columns]

    def series(self) -> dict[str, FloatArray]:
        """Read the columns of ``series.parquet`` that reports use, as float64."""
        self._check_columns(SERIES_FILE, list(_SERIES))
        with self._reading(SERIES_FILE) as path:
            table = read_series(path, _SERIES)
        return {name: _floats(table.column(name)) for name in _SERIES}

    def ticks_s(self) -> FloatArray:
        """Return the ticks of the series, those at which no replica has a row included, in seconds."""
        with self._reading(SERIES_FILE) as path:
            idle = IdleReplicas.from_metadata(pq.read_schema(path).metadata)
        times_s = _floats(self._table(SERIES_FILE, ["time_s"]).column("time_s"))
        return np.unique(np.concatenate([times_s, idle.times_ns / NS_PER_S]))

    def gap_counts(self) -> FloatArray:
        """Return how many gaps between tokens lie in each of vLLM's buckets, over the whole run."""
        counts = np.zeros(len(TOKEN_GAP_S) + 1)
        self._check_columns(SERIES_FILE, ["itl_counts"])
        with self._reading(SERIES_FILE) as path, pq.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=["itl_counts"]):
                counts += batch.column(0).flatten().to_numpy().reshape(-1, len(counts)).sum(axis=0)
        return counts

    def full_series(self) -> dict[str, FloatArray]:
        """Read every number of ``series.parquet`` as float64, without rows of replicas that nothing reached; histograms
        are [rows, buckets].
        """
        return self._numbers_of(SERIES_FILE, SERIES_SCHEMA)

    def rank_series(self) -> dict[str, FloatArray] | None:
        """Read every number of ``rank_series.parquet`` in the same way; None if the run has none."""
        if not (self.directory / RANK_SERIES_FILE).exists():
            return None
        return self._numbers_of(RANK_SERIES_FILE, RANK_SCHEMA)

    def rank_counters(self) -> npt.NDArray[np.int64]:
        """Read ``rank_counters.parquet`` as ``final_counters`` does."""
        return read_counters(self.directory / RANK_COUNTERS_FILE)

    def _numbers_of(self, file: str, schema: pa.Schema) -> dict[str, FloatArray]:
        names = [name for name in schema.names if name != "pool"]
        table = self._table(file, names)
        columns: dict[str, FloatArray] = {}
        for name in names:
            column = table.column(name)
            if pa.types.is_fixed_size_list(column.type):
                width = column.type.list_size
                flat = pa.chunked_array([chunk.flatten() for chunk in column.chunks], column.type.value_type)
                columns[name] = _floats(flat).reshape(-1, width)
            else:
                columns[name] = _floats(column)
        return columns

    def final_counters(self) -> npt.NDArray[np.int64]:
        """Read ``counters.parquet``: rows of ``metrics.live_figures`` at the end of the run."""
        return read_counters(self.directory / COUNTERS_FILE)

    def _table(self, name: str, columns: list[str], only: list[tuple[str, str, int]] | None = None) -> pa.Table:
        self._check_columns(name, columns)
        with self._reading(name) as path:
            return pq.read_table(path, columns=columns, filters=only)

    def _check_columns(self, name: str, columns: list[str]) -> None:
        """Raise InputError if a table lacks a column."""
        names = self._names(name)
        lacking = [column for column in columns if column not in names]
        if lacking:
            path = shown_path(self.directory / name)
            raise InputError(f"{path}: lacks the columns {', '.join(lacking)}, which every run writes")

    def _names(self, name: str) -> set[str]:
        """Return the names of the columns of a table."""
        with self._reading(name) as path:
            return set(pq.read_schema(path).names)

    @contextmanager
    def _reading(self, name: str) -> Iterator[Path]:
        """Give the path of a table; raise InputError if it is not there or cannot be read."""
        path = self.directory / name
        if not os.path.lexists(path):
            raise InputError(f"{self.directory}: is not the directory of a complete run: it has no {name}")
        check_plain(path)
        try:
            yield path
        except (OSError, ValueError, pa.ArrowException) as error:
            raise InputError(f"{path}: cannot be read: {cut(str(error), 300)}") from error


@contextmanager
def undamaged(directory: Path) -> Iterator[None]:
    """Raise InputError where the files of ``directory`` are not as a run or sweep writes them."""
    try:
        yield
    except (LookupError, TypeError, AttributeError, ArithmeticError, ValueError, pa.ArrowException) as error:
        if isinstance(error, KeyError):
            fault = f"it lacks {cut(str(error), 200)}"
        elif isinstance(error, ValueError | pa.ArrowException):
            fault = f"it does not have what runs write: {cut(str(error), 200)}"
        else:  # What Python says of these names no place and no value of the files.
            fault = "it lacks a value, or has one of another kind than runs write"
        raise InputError(f"{shown_path(directory)}: is damaged, or of another release: {fault}") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: must be a JSON object, as runs write it")
    return content


def _floats(column: pa.ChunkedArray) -> FloatArray:
    values: FloatArray = column.cast(pa.float64()).fill_null(float("nan")).combine_chunks().to_numpy()
    return values
