"""Operators' figures: what experts' timings say, and constants of one chip."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster_sim.hardware.device import load_device
from tests.scripts.test_library_checks import script

H100 = load_device("h100-sxm")
BANDWIDTH = H100.memory_bandwidth_bytes_per_s
COLUMNS = (
    "moe_dtype",
    "kernel_source",
    "hidden_size",
    "inter_size",
    "num_experts",
    "topk",
    "moe_tp_size",
    "moe_ep_size",
    "num_tokens",
    "distribution",
    "latency",
)


def write_table(folder: Path, rows: list[tuple[object, ...]]) -> None:
    """Write a version of vLLM's table of experts."""
    path = folder / "vllm" / "1.0" / "moe_perf.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.table({name: [row[n] for row in rows] for n, name in enumerate(COLUMNS)}), path)


def calls(kernel: str, experts: int, constant_us: float, read: float, width: int = 2048) -> list[tuple[object, ...]]:
    """Return calls of a kernel that reads at ``read`` of the bandwidth and computes at half of the peak."""
    rows: list[tuple[object, ...]] = []
    for tokens in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512):
        expert = 3 * 4096 * width * 2.0
        seconds = constant_us * 1e-6 + expert * min(experts, 2 * tokens) / BANDWIDTH / read
        seconds += expert * 2 * tokens / H100.peak_flops("bf16") / 0.5
        rows.append(("bfloat16", kernel, 4096, width, experts, 2, 1, 1, tokens, "balanced", seconds * 1e3))
    return rows


def test_experts_that_were_left_out_say_nothing_of_reading(checkout: Path, tmp_path: Path) -> None:
    """Kernels with 20 us a call read experts at 0.8 of the bandwidth, but one shape at 1.6 times of it, as if half of
    them were read: the figures are 20 us and 0.8 for reading and 0.5 for computing.
    """
    small = [row for width in (1, 2, 3) for row in calls("plain", 64, 20.0, 0.8, width)]
    large = [row for experts in (32, 48, 64, 96, 128, 160, 192) for row in calls("plain", experts, 20.0, 0.8)]
    write_table(tmp_path, small + large + calls("plain", 256, 20.0, 1.6))
    ratios: dict[str, float] = {}
    script(checkout, "fit_operators").put_experts(ratios, tmp_path, "vllm", H100, {"bfloat16": (2.0, "bf16")})
    assert ratios["moe_us"] == pytest.approx(20.0, rel=0.02)
    assert ratios["moe_memory_ratio"] == pytest.approx(0.8, rel=0.01)
    assert ratios["moe_flops_ratio"] == pytest.approx(0.5, rel=0.02)


def test_constants_are_those_of_the_chip(checkout: Path) -> None:
    """The least of 14 and 42 us holds for both devices of one chip; rates, and what was not measured, stay."""
    devices = [
        {"vllm": {"latent_us": 14.0, "kv_memory_ratio": 0.9}},
        {"vllm": {"latent_us": 42.0, "kv_memory_ratio": 0.8}, "sglang": {"moe_us": 20.0}},
    ]
    script(checkout, "fit_operators").share_constants(devices)
    assert devices == [
        {"vllm": {"latent_us": 14.0, "kv_memory_ratio": 0.9}},
        {"vllm": {"latent_us": 14.0, "kv_memory_ratio": 0.8}, "sglang": {"moe_us": 20.0}},
    ]


def write_columns(path: Path, **columns: list[object]) -> None:
    """Write a table."""
    path.parent.mkdir(parents=True)
    pq.write_table(pa.table(columns), path)


def test_short_projections_are_those_of_the_fastest_engine(checkout: Path, tmp_path: Path) -> None:
    """Of 60 us without CUDA graphs and 4 us with them the latter counts for all; large and tall products do not."""
    for device, engine, times in (("a", "vllm", (3.0, 60.0)), ("b", "sglang", (3.5, 4.0))):
        rows = [(dtype, 1, 256, us) for dtype, us in zip(("bfloat16", "fp8_block"), times, strict=True)] * 5
        rows += [("fp8_block", 1, 65_536, 1.0), ("fp8_block", 4096, 256, 1.0)] * 20
        dtypes, tall, wide, us = (list(column) for column in zip(*rows, strict=True))
        path = tmp_path / device / "gemm" / engine / "1.0" / "gemm_perf.parquet"
        write_columns(path, gemm_dtype=dtypes, m=tall, n=wide, k=[256] * len(rows), latency=[t * 1e-3 for t in us])
    found = script(checkout, "fit_operators").projection_times([tmp_path / "a", tmp_path / "b"])
    assert found == {"projection_us": 3.0, "projection_us_fp8": 4.0}
