"""Operator profiles: measured kernel times of one (device, model, TP) in one layout, and its Parquet file.

Design: one row per measurement.  ``operator`` is ``layer.<name>`` (by tokens, once per layer and ``count``),
``step.<name>`` (by tokens, once a step), ``sequence.<name>`` (by sequences, once a step), ``attention`` (by prefill
chunk, its cache, decodes and their mean cache, per layer), ``moe`` (by tokens and activated experts, per MoE layer),
``all_reduce`` (by tokens, ``count`` a layer) or ``send_recv`` (by tokens, between stages).  Keys that do not apply
are 0. Times are microseconds.  Every import, measurement and fit produces this layout; one predictor reads it.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from cluster_sim.atomic_file import whole_file
from cluster_sim.errors import InputError

Float64Array = npt.NDArray[np.float64]
KEYS: Final = (
    "tokens",
    "sequences",
    "prefill_tokens",
    "prefill_kv_tokens",
    "decodes",
    "decode_kv_tokens",
    "experts",
)
METADATA_KEY: Final = b"cluster_sim_profile"
FORMAT_VERSION: Final = 1
PREFIXES: Final = ("layer.", "step.", "sequence.")
PLAIN: Final = ("attention", "moe", "all_reduce", "send_recv")


@dataclass(frozen=True, slots=True)
class ProfileInfo:
    """What a profile was measured on."""

    device: str
    """Name in ``conf/devices``."""
    model: str
    """Name in ``conf/models``."""
    tensor_parallel: int
    dtype: str = "bf16"
    engine: str = ""
    source: str = ""
    """The data and the command it came from."""
    versions: dict[str, str] = field(default_factory=dict)
    """Driver, libraries, engine."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measured time; see the module's text."""

    operator: str
    time_us: float
    tokens: int = 0
    sequences: int = 0
    prefill_tokens: int = 0
    prefill_kv_tokens: int = 0
    decodes: int = 0
    decode_kv_tokens: int = 0
    experts: int = 0
    count: int = 1
    row: int = 0
    """Line of the source, for messages; not stored."""

    @property
    def key(self) -> tuple[int, ...]:
        """The measurement's place in its operator's table."""
        return (
            self.tokens,
            self.sequences,
            self.prefill_tokens,
            self.prefill_kv_tokens,
            self.decodes,
            self.decode_kv_tokens,
            self.experts,
        )


@dataclass(frozen=True, slots=True)
class OperatorProfile:
    """The measurements of one (device, model, TP)."""

    info: ProfileInfo
    rows: tuple[Measurement, ...]
    path: str = ""
    _by_operator: dict[str, list[Measurement]] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Sort the rows of each operator by key, once."""
        for row in self.rows:
            self._by_operator.setdefault(row.operator, []).append(row)
        for rows in self._by_operator.values():
            rows.sort(key=lambda row: row.key)

    @property
    def operators(self) -> list[str]:
        """Names of the operators, sorted."""
        return sorted(self._by_operator)

    def of(self, operator: str) -> list[Measurement]:
        """Return the rows of one operator, sorted by key."""
        return self._by_operator.get(operator, [])


def make_profile(info: ProfileInfo, rows: Iterable[Measurement], path: str = "") -> OperatorProfile:
    """Check names, signs and keys and return the profile.

    Raises InputError with the row for an unknown operator, a time that is not positive and finite, a negative key, or a
    key that appears twice.
    """
    kept = tuple(rows)
    seen: dict[tuple[str, tuple[int, ...]], int] = {}
    for row in kept:
        where = f"{path or 'profile'}, row {row.row}"
        if row.operator not in PLAIN and not row.operator.startswith(PREFIXES):
            raise InputError(
                f"{where}: unknown operator {row.operator!r}; known: {', '.join(PLAIN)}, or a name after "
                f"{', '.join(PREFIXES)}"
            )
        if not np.isfinite(row.time_us) or row.time_us < 0:
            raise InputError(
                f"{where}: time of {row.operator} is {row.time_us:g} us; it must be finite and not negative"
            )
        if min(row.key) < 0 or row.count < 1:
            raise InputError(f"{where}: keys of {row.operator} must be at least 0 and its count at least 1")
        place = (row.operator, row.key)
        if place in seen:
            raise InputError(f"{where}: duplicate key of {row.operator} {row.key}, first in row {seen[place]}")
        seen[place] = row.row
    if not kept:
        raise InputError(f"{path or 'profile'}: has no rows")
    return OperatorProfile(info, kept, path)


def write_profile(profile: OperatorProfile, path: Path) -> None:
    """Write the Parquet file, whole or not at all; InputError when it cannot be written."""
    rows = sorted(profile.rows, key=lambda row: (row.operator, row.key))
    columns: dict[str, Any] = {"operator": pa.array([row.operator for row in rows], pa.string())}
    for name in (*KEYS, "count"):
        columns[name] = pa.array([getattr(row, name) for row in rows], pa.int32())
    columns["time_us"] = pa.array([row.time_us for row in rows], pa.float64())
    metadata = {METADATA_KEY: json.dumps({"format": FORMAT_VERSION, **asdict(profile.info)}, sort_keys=True).encode()}
    table = pa.table(columns).replace_schema_metadata(metadata)
    with whole_file(path) as partial:
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, partial, compression="zstd")


def read_profile(path: Path) -> OperatorProfile:
    """Read and check a profile's Parquet file; InputError names the file and what is wrong."""
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: is not a readable Parquet file: {error}") from None
    raw = (table.schema.metadata or {}).get(METADATA_KEY)
    if raw is None:
        raise InputError(f"{path}: is no operator profile (its metadata lacks {METADATA_KEY.decode()})")
    try:
        metadata = json.loads(raw)
        version = metadata.pop("format")
        info = ProfileInfo(**metadata)
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path}: its metadata is wrong: {error}") from None
    if version != FORMAT_VERSION:
        raise InputError(f"{path}: has format {version}; this version reads format {FORMAT_VERSION}")
    needed = ("operator", *KEYS, "count", "time_us")
    missing = [name for name in needed if name not in table.column_names]
    if missing:
        raise InputError(f"{path}: lacks the columns {', '.join(missing)}")
    data = table.select(list(needed)).to_pylist()
    return make_profile(info, (Measurement(**item, row=index) for index, item in enumerate(data, start=1)), str(path))
