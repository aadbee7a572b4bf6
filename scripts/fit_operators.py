"""Fit, per device and engine, how close measured operators come to the data sheet.

Run ``python scripts/fit_operators.py SYSTEMS --out conf/profiles/operator-ratios.yaml`` with SYSTEMS the folder
``aiconfigurator_core/systems/data`` of the package aiconfigurator-core (Apache-2.0; optional extra).  Kernel timings
alone are read, no end-to-end result.  Each ratio is the inverse slope of ``latency = constant + work / (ratio *
rate)``, fitted with relative weights: reading weights (GEMMs of at most 16 rows), computing (GEMMs of 2,048 to 8,192
rows), reading the cache (decode attention), prefill attention, reading and computing experts; for all-reduces the
latency of small messages and the share of the link's bandwidth of large ones.  Constants are kept of a layer's experts
and of latent attention, the latter beyond a plain block's, and of projections by type.  Experts are fitted over all
formats, and by format.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from cluster_sim.atomic_file import whole_file
from cluster_sim.hardware.device import Device, load_device
from cluster_sim.hardware.replica_hardware import SPREAD

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
EXPERT_DTYPES = {
    "bfloat16": (2.0, "bf16"),
    "fp8_block": (1.0, "fp8"),
    "nvfp4": (0.5625, "fp4"),
    "w4a16_mxfp4": (0.53125, "bf16"),
    "w4a8_mxfp4_mxfp8": (0.53125, "fp8"),
}
"""Stored bytes of an expert's weight, scales included, and the dtype it is computed in; fp8 with one scale a tensor is
left out, which is not tuned."""
EXPERT_FORMATS = {
    "bf16": {"bfloat16": (2.0, "bf16")},
    "fp8": {"fp8_block": (1.0, "fp8")},
    "nvfp4": {"nvfp4": (0.5625, "fp4")},
    "int4": {"int4_wo": (0.515625, "bf16")},
    "mxfp4": {"w4a16_mxfp4": (0.53125, "bf16")},
    "mxfp4_fp8": {"w4a8_mxfp4_mxfp8": (0.53125, "fp8")},
}
"""The same by the format that experts are stored in.  MXFP4 has none of its own: its kernels take activations of 16 or
8 bits, which the server's flags choose."""
LEAST_EXPERTS_S = 5e-6
"""Time to read and compute experts below which a call shows the constant of a layer, s."""
FEW_TOKENS = 8
"""Most tokens of such a call: more take time to be sorted by expert."""
NODE = 8
"""Most GPUs of such a call: those of one node."""
PROJECTION_DTYPES = {"projection_us": "bfloat16", "projection_us_fp8": "fp8_block", "projection_us_fp4": "nvfp4"}
"""GEMMs whose shortest times are kept; those in short types compute the scales of their input, by blocks, first."""
FEW_WEIGHTS = 1e6
"""Most weights of a projection that has next to nothing to do."""
CHOSEN_CONTEXT = 4096
"""Context at which an indexer has to choose: the double of what it picks."""
CONSTANTS = ("latent_us", "sparse_us", "moe_us")
"""Beginnings of the names of figures that are times of kernels with next to nothing to do."""
CHIPS = (("h100-sxm", "h200"), ("b200", "b300", "gb200", "gb300"))
"""Devices with the same multiprocessors."""
CACHE_MULTIPLE = 2
"""Work below this multiple of the last-level cache is left out: it would be read from there."""
Columns = dict[str, npt.NDArray[Any]]


def main(arguments: list[str]) -> int:
    """Fit every device and engine and write the ratios."""
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
    for chip in CHIPS:
        share_constants([devices[name] for name in chip if name in devices])
        times_us = projection_times(options.systems / system for system, name in SYSTEMS.items() if name in chip)
        for name in chip:
            for measured in devices.get(name, {}).values():
                measured.update(times_us)
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
    with whole_file(options.out) as partial:
        partial.write_text(
            "# Fitted figures: how close measured operators come to the data sheet; see scripts/fit_operators.py.\n"
            + yaml.safe_dump(document, sort_keys=False, width=120),
            encoding="utf-8",
        )
    return 0


def fit(system: Path, engine: str, device: Device) -> dict[str, float]:
    """Return the ratios of one device and engine; what was not measured is absent."""
    ratios: dict[str, float] = {}
    gemm = load(system / "gemm", engine, "gemm_perf.parquet")
    bandwidth = device.memory_bandwidth_bytes_per_s
    for dtype, suffix, size in (("bfloat16", "", 2), ("fp8", "_fp8", 1), ("nvfp4", "_fp4", 0.5625)):
        if gemm is None or (suffix and suffix[1:] not in device.flops):
            continue
        rows = select(gemm, gemm_dtype=dtype)
        m, n, k = (rows[name].astype(float) for name in ("m", "n", "k"))
        seconds = rows["latency"] * 1e-3
        is_big = (size * n * k >= CACHE_MULTIPLE * device.l2_bytes) & (n * k <= 2**30)
        thin, thick = (m <= 16) & is_big, (m >= 2048) & (m <= 8192) & is_big
        put(ratios, f"gemm_memory{suffix}_ratio", size * (n * k)[thin] / bandwidth, seconds[thin])
        peak = device.peak_flops(suffix[1:] or "bf16")
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
    put_experts(ratios, system / "moe", engine, device, EXPERT_DTYPES)
    for name, dtypes in EXPERT_FORMATS.items():
        put_experts(ratios, system / "moe", engine, device, dtypes, f"_{name}")
        put_experts(ratios, system / "moe", engine, device, dtypes, f"_{name}{SPREAD}", are_spread=True)
    put_latent(ratios, system, engine)
    put_states(ratios, system, engine, device)
    reduce = load(system / "comm", engine, "custom_allreduce_perf.parquet")
    if reduce is not None:
        put_all_reduce(ratios, reduce, device)
    put_all_to_all(ratios, system / "comm", engine)
    return ratios


def projection_times(systems: Iterable[Path]) -> dict[str, float]:
    """Return the time of a projection with next to nothing to do by type, us, for the devices of one chip.

    The least of its devices and engines counts, as all use kernels of the same kind and disturbances only lengthen
    them: timings of vLLM's GEMMs in fp8 with scales by blocks are 60 us on H100 and 170 on B200, whatever their size.
    """
    found: dict[str, list[float]] = {}
    for system in systems:
        for engine in ENGINES:
            gemm = load(system / "gemm", engine, "gemm_perf.parquet")
            for name, dtype in PROJECTION_DTYPES.items() if gemm is not None else ():
                rows = select(gemm or {}, gemm_dtype=dtype)
                few = (rows["m"] <= FEW_TOKENS) & (rows["n"].astype(float) * rows["k"] <= FEW_WEIGHTS)
                if few.sum() >= 5:
                    found.setdefault(name, []).append(float(np.median(rows["latency"][few])) * 1e3)
    return {name: round(min(times), 2) for name, times in found.items()}


def share_constants(devices: list[dict[str, dict[str, float]]]) -> None:
    """Give devices of one chip the least constant of each kernel that was measured on any of them, by engine: what a
    kernel takes with next to nothing to do is a matter of the chip, and disturbances only lengthen it.
    """
    for engine in ENGINES:
        measured = [device[engine] for device in devices if engine in device]
        names = {name for ratios in measured for name in ratios if name.startswith(CONSTANTS)}
        for name in names:
            least = min(ratios[name] for ratios in measured if name in ratios)
            for ratios in measured:
                if name in ratios:
                    ratios[name] = least


def put(ratios: dict[str, float], name: str, ideal_s: npt.NDArray[Any], seconds: npt.NDArray[Any]) -> None:
    """Add the ratio, fitted as the inverse slope of measured over ideal time with relative weights."""
    if len(ideal_s) < 5:
        return
    _, slope = line(ideal_s, seconds)
    if slope > 0:
        ratios[name] = round(1 / slope, 3)


def line(ideal_s: npt.NDArray[Any], seconds: npt.NDArray[Any]) -> tuple[float, float]:
    """Return constant and slope of measured over ideal time, fitted with relative weights."""
    design = np.stack([np.ones_like(ideal_s), ideal_s], axis=1) / seconds[:, None]
    (constant, slope), *_ = np.linalg.lstsq(design, np.ones_like(seconds), rcond=None)
    return float(constant), float(slope)


class ExpertCall(NamedTuple):
    """One measured call of experts."""

    dtype: str
    kernel: str
    shape: tuple[int, ...]
    """Hidden size, width, experts and choices, then the degrees."""
    tokens: int
    read_s: float
    """Time to read the activated experts at the data sheet's rate."""
    compute_s: float
    """The same to compute them."""
    seconds: float

    @property
    def is_short(self) -> bool:
        """Whether it shows the constant of a layer."""
        is_small = self.tokens <= FEW_TOKENS and self.shape[-1] <= NODE
        return is_small and self.read_s + self.compute_s < LEAST_EXPERTS_S

    @property
    def router(self) -> tuple[str, str, tuple[int, ...]]:
        """What decides which experts its tokens choose."""
        return self.dtype, self.kernel, self.shape[:4]


def put_experts(
    ratios: dict[str, float],
    folder: Path,
    engine: str,
    device: Device,
    dtypes: dict[str, tuple[float, str]],
    suffix: str = "",
    *,
    are_spread: bool = False,
) -> None:
    """Add the time of a layer's experts with next to nothing to read, and how fast they are read and computed.

    Of several kernels for a shape the fastest counts, and of several versions of a dtype the newest.  Reading and
    computing add up: these kernels do not overlap them.  Experts are sliced over GPUs, or whole ones ``are_spread``.

    A kernel that reads the experts of a shape faster than the data sheet allows has left some of them out (DeepSeek's
    router chooses among half of 256 experts, for all tokens of the benchmark the same half): its times for that shape
    say how long a call takes, not how fast it reads.
    """
    calls: list[ExpertCall] = []
    for columns in reversed(load_all(folder, engine, "moe_perf.parquet")):
        done = {call.dtype for call in calls}
        known = {name: way for name, way in dtypes.items() if name not in done and way[1] in device.flops}
        calls += expert_calls(columns, device, known, are_spread)
    cached_s = CACHE_MULTIPLE * device.l2_bytes / device.memory_bandwidth_bytes_per_s
    partial = {call.router for call in calls if call.seconds < call.read_s >= cached_s}
    short = fastest(call for call in calls if call.is_short)
    long = fastest(call for call in calls if call.read_s >= cached_s and call.router not in partial)
    if len(short) < 5 or len(long) < 50:
        return
    constant = float(np.median([call.seconds for call in short]))
    by_kernel = {name: kernel_constant_s(calls, name, constant) for name in {call.kernel for call in long}}
    constants = np.array([by_kernel[call.kernel] for call in long])
    read, compute, seconds = np.array([(call.read_s, call.compute_s, call.seconds) for call in long]).T
    design = np.stack([read, compute], axis=1) / seconds[:, None]
    slopes, *_ = np.linalg.lstsq(design, 1.0 - constants / seconds, rcond=None)
    names = ("moe_memory_ratio", "moe_flops_ratio")
    ratios |= {f"moe_us{suffix}": round(constant * 1e6, 1)}
    ratios |= {
        f"{name}{suffix}": round(1.0 / float(slope), 3) for name, slope in zip(names, slopes, strict=True) if slope > 0
    }


def expert_calls(
    columns: Columns, device: Device, dtypes: dict[str, tuple[float, str]], are_spread: bool
) -> Iterator[ExpertCall]:
    """Yield the calls of a table; tokens choose evenly, so n of them activate k n experts."""
    rows = select(columns, distribution="balanced")
    chosen = (rows["num_tokens"] <= 8192) & np.isin(rows["moe_dtype"], list(dtypes))
    chosen &= (rows["moe_tp_size"] == 1) & (rows["moe_ep_size"] > 1) if are_spread else rows["moe_ep_size"] == 1
    shape = ("hidden_size", "inter_size", "num_experts", "topk", "moe_tp_size", "moe_ep_size")
    names = ("moe_dtype", "kernel_source", *shape, "num_tokens", "latency")
    for dtype, kernel, hidden, inter, experts, topk, slices, groups, tokens, latency in zip(
        *(rows[name][chosen].tolist() for name in names), strict=True
    ):
        weight_bytes, arithmetic = dtypes[dtype]
        weights = 3.0 * hidden * inter / slices / groups
        read_s = weights * weight_bytes * min(experts, topk * tokens) / device.memory_bandwidth_bytes_per_s
        compute_s = 2.0 * weights * topk * tokens / device.peak_flops(arithmetic)
        degrees = (hidden, inter, experts, topk, slices, groups)
        yield ExpertCall(dtype, kernel, degrees, tokens, read_s, compute_s, latency * 1e-3)


def fastest(calls: Iterable[ExpertCall]) -> list[ExpertCall]:
    """Return the call of the fastest kernel for each dtype, shape and number of tokens."""
    best: dict[tuple[str, tuple[int, ...], int], ExpertCall] = {}
    for call in calls:
        key = (call.dtype, call.shape, call.tokens)
        if key not in best or call.seconds < best[key].seconds:
            best[key] = call
    return list(best.values())


def kernel_constant_s(calls: list[ExpertCall], kernel: str, default_s: float) -> float:
    """Return the time of a kernel with next to nothing to read, s."""
    short = [call.seconds for call in calls if call.kernel == kernel and call.is_short]
    return float(np.median(short)) if len(short) >= 5 else default_s


def put_latent(ratios: dict[str, float], system: Path, engine: str) -> None:
    """Add what a block of latent attention, and one with an indexer, takes longer than a plain one, all at one sequence
    and the fewest heads, with a cache of 16 bits; contexts are short, but that an indexer has to choose.
    """
    plain = load(system / "attention", engine, "generation_attention_perf.parquet")
    gemm = load(system / "gemm", engine, "gemm_perf.parquet")
    if plain is None or gemm is None:
        return
    small = (gemm["m"] <= 8) & (gemm["n"] * gemm["k"] <= 3e6) & (gemm["gemm_dtype"] == "bfloat16")
    short = (plain["batch_size"] <= 2) & (plain["step"] + plain["isl"] <= 128)
    if not small.any() or not short.any():
        return
    block_ms = 2 * np.median(gemm["latency"][small]) + np.median(plain["latency"][short])
    for name, path, least_tokens in (
        ("latent_us", "mla/{}/mla_generation_module_perf.parquet", 0),
        ("sparse_us", "sparse_attention/{}/dsa_generation_module_perf.parquet", CHOSEN_CONTEXT),
    ):
        folder, _, file = path.split("/")
        latent = load(system / folder, engine, file)
        if latent is None:
            continue
        if "op_name" in latent:
            latent = select(latent, op_name=str(min(latent["op_name"], key=len)))
        one = (latent["batch_size"] == 1) & (latent["num_heads"] == latent["num_heads"].min())
        one &= (latent["kv_cache_dtype"] == "bfloat16") & (latent["step"] + latent["isl"] >= least_tokens)
        if one.any():
            ratios[name] = round(float(latent["latency"][one].min() - block_ms) * 1e3, 1)


def put_states(ratios: dict[str, float], system: Path, engine: str, device: Device) -> None:
    """Add the share of peak arithmetic that prompts reach in the layers of a gated delta net: 6 operations for each
    pair of key and value widths of a head.
    """
    rows = load(system / "linear_attention", engine, "gdn_perf.parquet")
    if rows is None:
        return
    rows = select(rows, phase="context", batch_size=1)
    is_rule = np.array([str(name).startswith("chunk_gated_delta_rule") for name in rows["kernel_source"]])
    rows = {name: column[is_rule] for name, column in rows.items()}
    work = 6.0 * rows["num_v_heads"] * rows["head_k_dim"] * rows["head_v_dim"] * rows["seq_len"].astype(float)
    long = (rows["seq_len"] >= 1024) & (rows["num_v_heads"] >= 8)
    put(ratios, "state_flops_ratio", work[long] / device.peak_flops("bf16"), rows["latency"][long] * 1e-3)


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


def put_all_to_all(ratios: dict[str, float], folder: Path, engine: str) -> None:
    """Add the time in which next to nothing goes to the GPUs that hold its experts and back: TensorRT-LLM's three
    kernels (``NVLinkTwoSided``), or SGLang's two (DeepEP's for low latency).
    """
    if engine == "trtllm":
        rows = load(folder, engine, "trtllm_alltoall_perf.parquet")
        kernels = ("alltoall_prepare", "alltoall_dispatch", "alltoall_combine")
        if rows is not None:
            rows = select(rows, kernel_source="NVLinkTwoSided", moe_dtype="bfloat16")
            few = (rows["num_tokens"] <= FEW_TOKENS) & (rows["moe_ep_size"] > NODE)
            times_us = [float(np.median(rows["latency"][few & (rows["op_name"] == name)])) * 1e3 for name in kernels]
            ratios["all_to_all_us"] = round(sum(times_us), 1)
    if engine == "sglang":
        rows = load(folder, engine, "wideep_deepep_ll_perf.parquet")
        if rows is not None:
            few = rows["num_token"] <= FEW_TOKENS
            ratios["all_to_all_us"] = round(
                sum(float(np.median(rows[f"{way}_avg_t_us"][few])) for way in ("dispatch", "combine")), 1
            )


def load(folder: Path, engine: str, name: str) -> Columns | None:
    """Return the columns of the newest version of a table, or None."""
    tables = load_all(folder, engine, name)
    return tables[-1] if tables else None


def load_all(folder: Path, engine: str, name: str) -> list[Columns]:
    """Return the columns of every version of a table, the newest last."""
    paths = sorted((folder / engine).glob(f"*/{name}"), key=lambda path: version(path.parent.name))
    return [columns_of(pq.read_table(path)) for path in paths]


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
