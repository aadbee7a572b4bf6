"""Parquet files of operator profiles: one row a measurement, the rest in the metadata."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from cluster_sim.atomic_file import whole_file
from cluster_sim.errors import InputError
from cluster_sim.hardware.predictors.operator_profile import (
    KEYS,
    Measurement,
    OperatorProfile,
    ProfileInfo,
    make_profile,
)
from cluster_sim.plain_file import check_plain

METADATA_KEY: Final = b"cluster_sim_profile"
FORMAT_VERSION: Final = 1


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


def read_profile_info(path: Path) -> ProfileInfo:
    """Read what a profile was measured with; InputError names the file and what is wrong."""
    check_plain(path)
    try:
        schema = pq.read_schema(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: is not a readable Parquet file: {error}") from None
    return _info(path, schema)


def read_profile(path: Path) -> OperatorProfile:
    """Read and check a profile's Parquet file; InputError names the file and what is wrong."""
    check_plain(path)
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: is not a readable Parquet file: {error}") from None
    info = _info(path, table.schema)
    needed = ("operator", *KEYS, "count", "time_us")
    missing = [name for name in needed if name not in table.column_names]
    if missing:
        raise InputError(f"{path}: lacks the columns {', '.join(missing)}")
    data = table.select(list(needed)).to_pylist()
    return make_profile(info, (Measurement(**item, row=index) for index, item in enumerate(data, start=1)), str(path))


def _info(path: Path, schema: pa.Schema) -> ProfileInfo:
    raw = (schema.metadata or {}).get(METADATA_KEY)
    if raw is None:
        raise InputError(f"{path}: is not an operator profile: its metadata lacks {METADATA_KEY.decode()}")
    try:
        metadata = json.loads(raw)
        version = metadata.pop("format")
        info = ProfileInfo(**metadata)
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path}: its metadata is wrong: {error}") from None
    if version != FORMAT_VERSION:
        raise InputError(f"{path}: has format {version}; this version reads format {FORMAT_VERSION}")
    return info
