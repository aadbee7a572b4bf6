"""Rows that ``series.parquet`` leaves out: those of replicas that nothing reached during the run.

Such a row has the tick, the pool and the replica, and 0 in every other column.  The file's own metadata says which
replicas they are and how many ticks the run has, so readers fill them in; in a fleet of 10,000 of which 100 serve, a
file with all rows would be a hundred times as large.
"""

import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from cluster_sim.output.arrow_columns import list_column, number_column, seconds_column, word_column

METADATA_KEY: Final = b"cluster_sim.idle_replicas"


class IdleReplicas(NamedTuple):
    """What the metadata of ``series.parquet`` says, as JSON with these keys."""

    interval_ns: int = 0
    ticks: int = 0
    """Ticks of the whole run: at ``interval_ns``, twice that, and so on."""
    replicas: tuple[tuple[str, int, int], ...] = ()
    """(pool, first replica, replicas) of neighbours that have no rows."""

    @classmethod
    def of(cls, interval_ns: int, ticks: int, replicas: Sequence[tuple[str, int]]) -> "IdleReplicas":
        """``replicas`` are (pool, number), the numbers rising."""
        runs = []
        for _, members in groupby(enumerate(replicas), lambda item: (item[1][0], item[1][1] - item[0])):
            first, *others = (replica for _, replica in members)
            runs.append((first[0], first[1], 1 + len(others)))
        return cls(interval_ns, ticks, tuple(runs))

    @property
    def numbers(self) -> npt.NDArray[np.int64]:
        """The replicas without rows."""
        return np.concatenate([np.zeros(0, np.int64), *(first + np.arange(n) for _, first, n in self.replicas)])

    @property
    def times_ns(self) -> npt.NDArray[np.int64]:
        """The ticks."""
        return self.interval_ns * np.arange(1, self.ticks + 1)

    def to_metadata(self) -> dict[bytes, bytes]:
        """Return the entry of the file's metadata; none if no row is left out."""
        return {METADATA_KEY: json.dumps(self._asdict()).encode()} if self.replicas and self.ticks else {}

    @classmethod
    def from_metadata(cls, metadata: dict[bytes, bytes] | None) -> "IdleReplicas":
        """Read the entry of a file; raises ValueError, KeyError or TypeError if it is damaged."""
        text = (metadata or {}).get(METADATA_KEY)
        if text is None:
            return cls()
        plain = json.loads(text)
        runs = tuple((str(pool), int(first), int(count)) for pool, first, count in plain["replicas"])
        return cls(int(plain["interval_ns"]), int(plain["ticks"]), runs)


def read_series(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read columns of ``series.parquet``, all by default, with the rows that it leaves out."""
    schema = pq.read_schema(path)
    idle = IdleReplicas.from_metadata(schema.metadata)
    names = schema.names if columns is None else list(columns)
    table = pq.read_table(path, columns=[*names, *({"replica"} - set(names))])
    if idle.replicas and idle.ticks:
        table = pa.concat_tables([table, _idle_table(idle, table.schema)], promote_options="default")
        replica = table.column("replica").combine_chunks()
        order = np.argsort(np.frombuffer(replica.buffers()[1], np.int32)[: len(replica)], kind="stable")
        table = table.take(number_column(order, pa.int64()))
    return table.select(names)


def _idle_table(idle: IdleReplicas, schema: pa.Schema) -> pa.Table:
    numbers, times_ns = idle.numbers, idle.times_ns
    rows = len(numbers) * len(times_ns)
    pools = [pool for pool, _, _ in idle.replicas]
    codes = np.repeat(np.arange(len(pools)), [count for _, _, count in idle.replicas])

    def column(field: pa.Field) -> pa.Array:
        kind: Any = field.type
        if field.name == "time_s":
            return seconds_column(np.tile(times_ns, len(numbers)))
        if field.name == "replica":
            return number_column(np.repeat(numbers, len(times_ns)), kind)
        if field.name == "pool":
            return word_column(np.repeat(codes, len(times_ns)), pools)
        if pa.types.is_fixed_size_list(kind):
            return list_column(np.zeros((rows, kind.list_size), np.int64), kind.value_type)
        return number_column(np.zeros(rows, np.int64), kind)

    return pa.table([column(field) for field in schema], schema=pa.schema([(f.name, f.type) for f in schema]))
