"""Import of the operator tables of the package aiconfigurator-core, for any model.

Source of the layout: aiconfigurator-core 0.12 (Apache-2.0), ``systems/data/<gpu>/<op>/<engine>/<version>/*.parquet``,
latencies in milliseconds: GEMMs by (m, n, k), attention by (batch, length, heads, head width), experts by (tokens,
hidden, width, experts), all-reduces by elements.  Its end-to-end sample is never read.

Design: a model's matrices are rarely on the grid of (n, k), so a GEMM's time is the data sheet's roofline over an
efficiency, and the efficiency is interpolated in (log n, log k) between the four grid matrices around it.  Attention is
taken at the heads nearest to the model's and scaled by the ratio of bytes or operations.  Norms, rotary embedding and
activation are not in the tables; they appear as one operator that moves their bytes at the data sheet's bandwidth and
launches four kernels of 2 us.
"""

import math
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from cluster_sim.errors import InputError
from cluster_sim.hardware.device import DTYPE_BYTES, Device
from cluster_sim.hardware.model import Model
from cluster_sim.hardware.predictors.calibration_file import version_key
from cluster_sim.hardware.predictors.operator_profile import Measurement, OperatorProfile, ProfileInfo, make_profile
from cluster_sim.hardware.replica_hardware import check_parallelism

FOLDERS: Final[dict[str, str]] = {
    "a100-80gb": "a100_sxm",
    "l40s": "l40s",
    "rtx-pro-6000": "rtx_pro_6000_server",
    "h100-sxm": "h100_sxm",
    "h200": "h200_sxm",
    "b200": "b200_sxm",
    "b300": "b300_sxm",
    "gb200": "gb200",
    "gb300": "gb300",
}
"""Folders of the devices of the library."""
DTYPES: Final[dict[str, str]] = {"bf16": "bfloat16", "fp16": "bfloat16", "fp8": "fp8"}
SMALL_KERNELS: Final = 4
SMALL_KERNEL_US: Final = 2.0
Columns = dict[str, npt.NDArray[Any]]


def import_aiconfigurator(
    systems: Path, device: Device, model: Model, tensor_parallel: int = 1, engine: str = "vllm"
) -> OperatorProfile:
    """Compose a profile of ``model`` from the tables under ``systems`` (the package's ``systems/data``).

    ``engine`` is vllm, sglang or trtllm; the newest version of each table is read.  Raises InputError when the package
    has no such table, or the model needs an operator or dtype that it lacks.
    """
    check_parallelism(model, tensor_parallel, 1)
    if model.is_latent_attention or not model.is_uniform:
        raise InputError(
            f"{model.name}: latent attention and layers of several shapes cannot be composed from these tables"
        )
    folder = systems / FOLDERS.get(device.name, device.name)
    if not folder.is_dir():
        known = ", ".join(name for name, folder_name in FOLDERS.items() if (systems / folder_name).is_dir())
        raise InputError(f"{systems}: has no tables for {device.name}; known: {known or 'none'}")
    gemms = _GemmTable(_load(folder, "gemm", engine, "gemm_perf.parquet"), device, model)
    rows = [*_layer_rows(gemms, model, device, tensor_parallel), *_head_rows(gemms, model, tensor_parallel)]
    rows += _attention_rows(folder, engine, model, tensor_parallel)
    if model.is_moe:
        rows += _expert_rows(folder, engine, model, tensor_parallel)
    if tensor_parallel > 1:
        rows += _all_reduce_rows(folder, engine, model, tensor_parallel)
    info = ProfileInfo(
        device=device.name,
        model=model.name,
        tensor_parallel=tensor_parallel,
        dtype=model.projection_dtype,
        engine=engine,
        source=f"aiconfigurator-core tables of {folder.name}, {engine}",
        versions={engine: gemms.version},
    )
    return make_profile(info, rows, str(folder))


class _GemmTable:
    """GEMM times by efficiency over (n, k) for each m."""

    def __init__(self, table: tuple[Columns, str], device: Device, model: Model) -> None:
        columns, self.version = table
        dtype = DTYPES.get(model.projection_dtype)
        chosen = columns["gemm_dtype"] == dtype
        if dtype is None or not chosen.any():
            raise InputError(f"the tables have no GEMMs in {model.projection_dtype}, which {model.name} needs")
        self._size = DTYPE_BYTES[model.projection_dtype]
        self._device, self._dtype = device, model.projection_dtype
        self._times: dict[int, dict[tuple[int, int], float]] = {}
        picked = (columns[name][chosen].tolist() for name in ("m", "n", "k", "latency"))
        for m, n, k, latency in zip(*picked, strict=True):
            cell = self._times.setdefault(m, {})
            cell[n, k] = min(latency * 1e3, cell.get((n, k), math.inf))
        self.m_values = sorted(self._times)

    def time_us(self, m: int, n: int, k: int) -> float:
        """Return the time of an (m, k) x (k, n) product for an ``m`` of the table, us."""
        cells = self._times[m]
        sides_n, sides_k = sorted({cell[0] for cell in cells}), sorted({cell[1] for cell in cells})
        total = weight_sum = 0.0
        for near_n, weight_n in _around(sides_n, n):
            for near_k, weight_k in _around(sides_k, k):
                us = cells.get((near_n, near_k))
                if us is not None and weight_n * weight_k > 0:
                    total += weight_n * weight_k * self._ideal_us(m, near_n, near_k) / us
                    weight_sum += weight_n * weight_k
        if weight_sum == 0:
            raise InputError(f"the GEMM table has nothing near {m} x {n} x {k}")
        return self._ideal_us(m, n, k) / (total / weight_sum)

    def _ideal_us(self, m: int, n: int, k: int) -> float:
        moved = self._size * (n * k + m * k) + 2.0 * m * n
        by_memory = moved / self._device.memory_bandwidth_bytes_per_s
        return max(by_memory, 2.0 * m * n * k / self._device.peak_flops(self._dtype)) * 1e6


def _layer_rows(gemms: _GemmTable, model: Model, device: Device, tp: int) -> list[Measurement]:
    """Return the projections of one layer by tokens, and the small kernels between them."""
    width = model.head_dim * model.num_attention_heads // tp
    kv_width = model.head_dim * -(-model.num_key_value_heads // tp)
    shapes = {"qkv_proj": (width + 2 * kv_width, model.hidden_size), "o_proj": (model.hidden_size, width)}
    inner = model.intermediate_size
    if model.is_moe:
        inner = (model.moe_intermediate_size or inner) * model.n_shared_experts
    if inner:
        gates = 2 if model.is_gated_mlp else 1
        shapes["gate_up_proj"] = (gates * inner // tp, model.hidden_size)
        shapes["down_proj"] = (model.hidden_size, inner // tp)
    rows = [
        Measurement(f"layer.{name}", gemms.time_us(m, n, k), tokens=m)
        for name, (n, k) in shapes.items()
        for m in gemms.m_values
    ]
    for m in gemms.m_values:
        moved = 2.0 * m * (8 * model.hidden_size + 3 * inner / tp + 2 * (width + 2 * kv_width))
        us = SMALL_KERNELS * SMALL_KERNEL_US + moved / device.memory_bandwidth_bytes_per_s * 1e6
        rows.append(Measurement("layer.small_kernels", us, tokens=m))
    return rows


def _head_rows(gemms: _GemmTable, model: Model, tp: int) -> list[Measurement]:
    return [
        Measurement("sequence.lm_head", gemms.time_us(m, model.vocab_size // tp, model.hidden_size), sequences=m)
        for m in gemms.m_values
        if m <= 2048
    ]


def _attention_rows(folder: Path, engine: str, model: Model, tp: int) -> list[Measurement]:
    """Return decode attention by (batch, cache) and prefill attention by chunk, at the nearest heads, scaled."""
    heads, kv_heads = model.num_attention_heads // tp, -(-model.num_key_value_heads // tp)
    rows: list[Measurement] = []
    columns, scale = _nearest_heads(
        _load(folder, "attention", engine, "generation_attention_perf.parquet")[0], model, heads, kv_heads
    )
    best: dict[tuple[int, int], float] = {}
    steps = columns["step"] + columns["isl"] - 1
    for batch, kv, latency in zip(
        columns["batch_size"].tolist(), steps.tolist(), columns["latency"].tolist(), strict=True
    ):
        best[batch, kv] = min(latency * 1e3 * scale, best.get((batch, kv), math.inf))
    rows += [Measurement("attention", us, decodes=b, decode_kv_tokens=kv) for (b, kv), us in best.items()]
    columns, scale = _nearest_heads(
        _load(folder, "attention", engine, "context_attention_perf.parquet")[0], model, heads, kv_heads
    )
    is_single = columns["batch_size"] == 1
    chunks: dict[int, float] = {}
    for length, latency in zip(columns["isl"][is_single].tolist(), columns["latency"][is_single].tolist(), strict=True):
        chunks[length] = min(latency * 1e3 * scale, chunks.get(length, math.inf))
    # A chunk over a cache is the difference of two triangles: what the longer prompt computes and the cache has.
    lengths = sorted(chunks)
    for total in lengths:
        for cached in [0, *(length for length in lengths if length < total)]:
            us = max(chunks[total] - (chunks[cached] if cached else 0.0), chunks[lengths[0]])
            rows.append(Measurement("attention", us, prefill_tokens=total - cached, prefill_kv_tokens=cached))
    return list({(row.operator, row.key): row for row in rows}.values())


def _nearest_heads(columns: Columns, model: Model, heads: int, kv_heads: int) -> tuple[Columns, float]:
    """Return the rows of the head counts nearest to the model's, in a 16-bit cache without window, and a factor."""
    chosen = np.isin(columns["kv_cache_dtype"], ("bfloat16", "float16"))
    if "window_size" in columns:
        chosen &= columns["window_size"] == 0
    widths = sorted(set(columns["head_dim"][chosen].tolist()))
    if not widths:
        raise InputError("the tables have no attention with a 16-bit cache")
    head_dim = min(widths, key=lambda width: abs(width - model.head_dim))
    chosen &= columns["head_dim"] == head_dim
    pairs = set(
        zip(columns["num_heads"][chosen].tolist(), columns["num_key_value_heads"][chosen].tolist(), strict=True)
    )

    def distance(pair: tuple[int, int]) -> float:
        return abs(math.log2(pair[1] / kv_heads)) * 2 + abs(math.log2(pair[0] / pair[1]) - math.log2(heads / kv_heads))

    near = min(sorted(pairs), key=distance)
    chosen &= (columns["num_heads"] == near[0]) & (columns["num_key_value_heads"] == near[1])
    scale = kv_heads * model.head_dim / (near[1] * head_dim)
    return {name: column[chosen] for name, column in columns.items()}, scale


def _expert_rows(folder: Path, engine: str, model: Model, tp: int) -> list[Measurement]:
    """Return the experts by tokens: they were measured under a routing distribution, not by activated experts."""
    columns = _load(folder, "moe", engine, "moe_perf.parquet")[0]
    width = model.moe_intermediate_size or model.intermediate_size
    dtype = DTYPES.get(model.expert_dtype, "w4a16_mxfp4" if model.expert_dtype == "fp4" else "")
    chosen = (columns["moe_dtype"] == dtype) & (columns["moe_ep_size"] == 1)
    for name, value in (
        ("hidden_size", model.hidden_size),
        ("inter_size", width),
        ("num_experts", model.experts),
        ("topk", model.num_experts_per_tok),
        ("moe_tp_size", tp),
    ):
        chosen &= columns[name] == value
    if not chosen.any():
        raise InputError(
            f"the tables have no experts of {model.hidden_size} x {width}, {model.num_experts_per_tok} of "
            f"{model.experts}, {model.expert_dtype}, split {tp} ways, which {model.name} needs"
        )
    spread = columns["distribution"][chosen]
    for wanted in ("power_law_1.01", "power_law_1.2", "balanced", "uniform"):
        if (spread == wanted).any():
            break
    best: dict[int, float] = {}
    picked = (columns[name][chosen].tolist() for name in ("num_tokens", "latency", "distribution"))
    for tokens, latency, distribution in zip(*picked, strict=True):
        if distribution == wanted:
            best[tokens] = min(latency * 1e3, best.get(tokens, math.inf))
    return [Measurement("layer.experts", us, tokens=tokens) for tokens, us in best.items()]


def _all_reduce_rows(folder: Path, engine: str, model: Model, tp: int) -> list[Measurement]:
    columns = _load(folder, "comm", engine, "custom_allreduce_perf.parquet")[0]
    chosen = columns["num_gpus"] == tp
    backend = columns.get("backend")
    if backend is not None and any("graph" in str(name) for name in backend[chosen]):
        chosen &= np.array(["graph" in str(name) for name in backend])
    best: dict[int, float] = {}
    picked = (columns[name][chosen].tolist() for name in ("message_size", "latency"))
    for elements, latency in zip(*picked, strict=True):
        tokens = elements // model.hidden_size
        if tokens >= 1:
            best[tokens] = min(latency * 1e3, best.get(tokens, math.inf))
        else:
            best[1] = max(latency * 1e3, best.get(1, 0.0)) if 1 in best else latency * 1e3
    if not best:
        raise InputError(f"the tables have no all-reduce over {tp} GPUs")
    return [Measurement("all_reduce", us, tokens=tokens, count=2) for tokens, us in best.items()]


def _around(sides: list[int], value: int) -> list[tuple[int, float]]:
    """Return the grid values around ``value`` with weights in log space; beyond the ends, the end."""
    if value <= sides[0]:
        return [(sides[0], 1.0)]
    if value >= sides[-1]:
        return [(sides[-1], 1.0)]
    upper = next(index for index, side in enumerate(sides) if side >= value)
    low, high = sides[upper - 1], sides[upper]
    weight = math.log(value / low) / math.log(high / low)
    return [(low, 1.0 - weight), (high, weight)]


def _load(folder: Path, operator: str, engine: str, name: str) -> tuple[Columns, str]:
    """Return the columns of the newest version of a table, and that version; InputError when there is none."""
    found = sorted((folder / operator / engine).glob(f"*/{name}"), key=lambda path: version_key(path.parent.name))
    if not found:
        raise InputError(f"{folder / operator / engine}: has no {name}")
    try:
        table = pq.read_table(found[-1])
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{found[-1]}: is not a readable Parquet file: {error}") from None
    columns = {column: table[column].to_numpy(zero_copy_only=False) for column in table.column_names}
    return columns, found[-1].parent.name
