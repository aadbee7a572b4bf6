"""Fit, per device and engine, how close measured operators come to the data sheet.

Run ``python scripts/fit_operators.py SYSTEMS --out conf/profiles/operator-ratios.yaml`` with SYSTEMS the folder
``aiconfigurator_core/systems/data`` of the package aiconfigurator-core (Apache-2.0; optional extra).  Kernel timings
alone are read, no end-to-end result.  Each ratio is the inverse slope of ``latency = constant + work / (ratio *
rate)``, fitted with relative weights: reading weights (GEMMs of at most 16 rows), computing (GEMMs of 2,048 to 8,192
rows), reading the cache (decode attention), prefill attention; for all-reduces the latency of small messages and the
share of the link's bandwidth of large ones.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from cluster_sim.hardware.device import Device, load_device

SYSTEMS = {
    "a100_sxm": "a100-80gb",
    "l40s": "l40s",
    "rtx_pro_6000_server": "rtx-pro-6000",
    "h100_sxm": "h100-sxm",
    "h200_sxm": "h200",
    "b200_sxm": "b200",
    "b300_sxm": "b300",
    "gb200": "gb200",
    "gb300": "gb300",
}
ENGINES = ("vllm", "sglang", "trtllm")
CACHE_MULTIPLE = 2
"""Work below this multiple of the last-level cache is left out: it would be read from there."""
Columns = dict[str, npt.NDArray[Any]]


def main(arguments: list[str]) -> int:
    """Fit every device and engine and write the profile."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("systems", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    devices: dict[str, dict[str, dict[str, float]]] = {}
    for system, name in SYSTEMS.items():
        device = load_device(name)
        for engine in ENGINES:
            ratios = fit(options.systems / system, engine, device)
            if ratios:
                devices.setdefault(name, {})[engine] = ratios
                print(f"{name:<14}{engine:<8}" + "  ".join(f"{key} {value:g}" for key, value in ratios.items()))
    document = {
        "name": options.out.stem,
        "kind": "operators",
        "provenance": {
            "data": "operator timings of aiconfigurator-core 0.12.0 (Apache-2.0), newest version of each engine",
            "command": "python scripts/fit_operators.py aiconfigurator_core/systems/data "
            "--out conf/profiles/operator-ratios.yaml",
            "notes": "ratios of the data sheet's rates in conf/devices; kernels alone, no end-to-end result",
        },
        "devices": devices,
    }
    partial = options.out.with_name(options.out.name + ".partial")
    partial.write_text(
        "# Fitted figures: how close measured operators come to the data sheet; see scripts/fit_operators.py.\n"
        + yaml.safe_dump(document, sort_keys=False, width=120),
        encoding="utf-8",
    )
    partial.replace(options.out)
    return 0


def fit(system: Path, engine: str, device: Device) -> dict[str, float]:
    """Return the ratios of one device and engine; what was not measured is absent."""
    ratios: dict[str, float] = {}
    gemm = load(system / "gemm", engine, "gemm_perf.parquet")
    bandwidth = device.memory_bandwidth_bytes_per_s
    for dtype, suffix, size in (("bfloat16", "", 2), ("fp8", "_fp8", 1)):
        if gemm is None or (suffix and "fp8" not in device.flops):
            continue
        rows = select(gemm, gemm_dtype=dtype)
        m, n, k = (rows[name].astype(float) for name in ("m", "n", "k"))
        seconds = rows["latency"] * 1e-3
        is_big = (size * n * k >= CACHE_MULTIPLE * device.l2_bytes) & (n * k <= 2**30)
        thin, thick = (m <= 16) & is_big, (m >= 2048) & (m <= 8192) & is_big
        put(ratios, f"gemm_memory{suffix}_ratio", size * (n * k)[thin] / bandwidth, seconds[thin])
        peak = device.peak_flops("fp8" if suffix else "bf16")
        put(ratios, f"gemm_flops{suffix}_ratio", 2 * (m * n * k)[thick] / peak, seconds[thick])
    decode = load(system / "attention", engine, "generation_attention_perf.parquet")
    if decode is not None:
        rows = plain_attention(decode)
        moved = 2.0 * rows["num_key_value_heads"] * 128 * 2 * rows["batch_size"] * (rows["step"] + rows["isl"])
        grouped = (rows["num_heads"] >= 4 * rows["num_key_value_heads"]) & (rows["num_key_value_heads"] >= 4)
        chosen = grouped & (moved > CACHE_MULTIPLE * device.l2_bytes) & (moved < 2e10)
        put(ratios, "kv_memory_ratio", moved[chosen] / bandwidth, rows["latency"][chosen] * 1e-3)
    context = load(system / "attention", engine, "context_attention_perf.parquet")
    if context is not None:
        rows = plain_attention(context)
        length = rows["isl"].astype(float)
        work = 4.0 * rows["num_heads"] * 128 * rows["batch_size"] * length * (length + 1) / 2
        chosen = (work > 1e10) & (rows["num_heads"] >= 8)
        put(ratios, "attention_flops_ratio", work[chosen] / device.peak_flops("bf16"), rows["latency"][chosen] * 1e-3)
    reduce = load(system / "comm", engine, "custom_allreduce_perf.parquet")
    if reduce is not None:
        put_all_reduce(ratios, reduce, device)
    return ratios


def put(ratios: dict[str, float], name: str, ideal_s: npt.NDArray[Any], seconds: npt.NDArray[Any]) -> None:
    """Add the ratio, fitted as the inverse slope of measured over ideal time with relative weights."""
    if len(ideal_s) < 5:
        return
    design = np.stack([np.ones_like(ideal_s), ideal_s], axis=1) / seconds[:, None]
    (_, slope), *_ = np.linalg.lstsq(design, np.ones_like(seconds), rcond=None)
    if slope > 0:
        ratios[name] = round(float(1 / slope), 3)


def put_all_reduce(ratios: dict[str, float], columns: Columns, device: Device) -> None:
    """Add the latency of small all-reduces and the link's share in large ones; CUDA-graph variants where named."""
    backend = columns.get("backend")
    for degree in (2, 4, 8):
        chosen = columns["num_gpus"] == degree
        if backend is not None and any("graph" in str(name) for name in backend):
            chosen &= np.array(["graph" in str(name) for name in backend])
        size, seconds = columns["message_size"][chosen] * 2.0, columns["latency"][chosen] * 1e-3
        small, large = size <= 65_536, (size >= 2**23) & (size <= 2**26)
        if not small.any() or not large.any():
            continue
        moved = 2.0 * (degree - 1) / degree * size[large]
        ratios[f"all_reduce_us_tp{degree}"] = round(float(np.median(seconds[small])) * 1e6, 2)
        rate = device.interconnect.bandwidth_bytes_per_s
        ratios[f"all_reduce_ratio_tp{degree}"] = round(float(np.median(moved / seconds[large])) / rate, 3)


def load(folder: Path, engine: str, name: str) -> Columns | None:
    """Return the columns of the newest version of a table, or None."""
    paths = sorted((folder / engine).glob(f"*/{name}"), key=lambda path: version(path.parent.name))
    if not paths:
        return None
    return columns_of(pq.read_table(paths[-1]))


def version(text: str) -> tuple[int, ...]:
    """Return the numbers in a version, for ordering."""
    return tuple(int("".join(filter(str.isdigit, part)) or 0) for part in text.split("."))


def columns_of(table: pa.Table) -> Columns:
    """Return a table's columns as arrays."""
    return {name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names}


def select(columns: Columns, **values: object) -> Columns:
    """Return the rows whose columns have these values; a column that is not there selects nothing away."""
    chosen = np.ones(len(next(iter(columns.values()))), dtype=bool)
    for name, value in values.items():
        if name in columns:
            chosen &= columns[name] == value
    return {name: column[chosen] for name, column in columns.items()}


def plain_attention(columns: Columns) -> Columns:
    """Return rows of full attention with 128-wide heads and a 16-bit cache."""
    rows = select(columns, head_dim=128, window_size=0)
    if not len(rows["kv_cache_dtype"]):
        return rows
    chosen = np.isin(rows["kv_cache_dtype"], ("bfloat16", "float16"))
    return {name: column[chosen] for name, column in rows.items()}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
