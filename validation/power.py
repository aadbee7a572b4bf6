"""Splitwise's measured power: Llama-2-70B on 2, 4 and 8 A100-80GB, joules per token of prompt and token phases.

Power is given as shares of TDP: the peak of a request, which the prompt phase of one prompt reaches all along, and the
average over it, which is the token phase's where prompts take less than a tenth of the time.  Joules per token are
power times duration, so with the measured durations an error of power is one of joules.  Batched prompts have no
power of their own here (their peak is not their average), and where the average is below what the prompt phase alone
would take the row contradicts itself; both are left out.

The three coefficients of ``hardware.energy`` are refitted without the degree that is scored.
"""

from collections import defaultdict
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from cluster_sim.calibration.case import FloatArray
from cluster_sim.calibration.tables import read_rows
from cluster_sim.hardware.device import load_device
from cluster_sim.hardware.engine_settings import default_settings
from cluster_sim.hardware.model import load_model
from cluster_sim.hardware.replica_hardware import ReplicaHardware
from cluster_sim.hardware.sharding import shards

DATASET: Final = "splitwise-perf-model"
KEYS: Final = ("tensor_parallel", "prompt_size", "batch_size", "token_size")
VALUES: Final = ("peak_power", "average_power", "prompt_time", "token_time", "e2e_time")
LARGEST_PROMPT_SHARE: Final = 0.1
PHASES: Final = ("prompt", "token")
ROUNDS: Final = 20


class PowerPoint(NamedTuple):
    """One phase of one setting."""

    phase: str
    tensor_parallel: int
    demand: tuple[float, float, float]
    """1, and the shares of the data sheet's bandwidth and arithmetic that the phase uses."""
    measured_ratio: float
    """Power over TDP, at most 1."""


def load_power(folder: Path) -> list[PowerPoint]:
    """Return the phases whose power was measured, medians of their repetitions."""
    groups: dict[tuple[int, ...], list[list[float]]] = defaultdict(list)
    for row in read_rows(folder / "perf_model.csv.gz", ("model", "hardware", *KEYS, *VALUES)):
        if (row["model"], row["hardware"]) == ("llama2-70b", "a100-80gb") and float(row["peak_power"]) > 0:
            groups[tuple(int(row[key]) for key in KEYS)].append([float(row[value]) for value in VALUES])
    points = []
    for (degree, prompt, batch, _), rows in sorted(groups.items()):
        peak, average, prompt_ms, token_ms, e2e_ms = np.median(np.array(rows), axis=0).tolist()
        share, peak = prompt_ms / e2e_ms, min(peak, 1.0)
        if batch == 1:
            points.append(PowerPoint("prompt", degree, _demand(degree, prompt, batch, prompt_ms, prompt), peak))
        if share < LARGEST_PROMPT_SHARE:
            alone = (average - peak * share) / (1 - share)
            points.append(PowerPoint("token", degree, _demand(degree, prompt, batch, token_ms, 1), alone))
    return points


def _demand(degree: int, prompt: int, batch: int, time_ms: float, tokens: int) -> tuple[float, float, float]:
    device, model = load_device("a100-80gb"), load_model("llama-2-70b")
    part = shards(ReplicaHardware(model, device, default_settings(device), degree))[0]
    cached = batch * prompt
    pairs = batch * (prompt * (prompt + 1) / 2 if tokens > 1 else prompt)
    operations = batch * (tokens * part.flops_per_token + part.head_flops_per_token)
    operations += pairs * part.attention_flops_per_pair
    moved = part.dense_weight_bytes + part.head_weight_bytes + cached * part.kv_bytes_per_token
    seconds = time_ms / 1e3
    return 1.0, moved / seconds / device.memory_bandwidth_bytes_per_s, operations / seconds / device.peak_flops("bf16")


def fit_power(points: list[PowerPoint]) -> FloatArray:
    """Return (active, memory, flops) by least squares of relative errors; what is capped says no more than that."""
    demand, measured = np.array([point.demand for point in points]), np.array([p.measured_ratio for p in points])
    power = load_device("a100-80gb").power
    found = np.array([power.active_ratio, power.memory_ratio, power.flops_ratio])
    for _ in range(ROUNDS):
        used = (measured < 1) | (demand @ found < 1)
        found = np.linalg.lstsq(demand[used] / measured[used, None], np.ones(int(used.sum())), rcond=None)[0]
        found = np.maximum(found, 0.0)
    return found


def errors_percent(points: list[PowerPoint], coefficients: FloatArray) -> dict[str, float]:
    """Return the mean absolute error of joules per token by phase, percent."""
    found = {}
    for phase in PHASES:
        own = [point for point in points if point.phase == phase]
        predicted = np.minimum(1.0, np.array([point.demand for point in own]) @ coefficients)
        measured = np.array([point.measured_ratio for point in own])
        found[phase] = float(100.0 * np.abs(predicted / measured - 1).mean())
    return found


def score_power(folder: Path) -> dict[str, dict[str, float]]:
    """Return the errors of the shipped coefficients, and with each degree of tensor parallelism left out."""
    points = load_power(folder)
    power = load_device("a100-80gb").power
    shipped = np.array([power.active_ratio, power.memory_ratio, power.flops_ratio])
    degrees = sorted({point.tensor_parallel for point in points})
    left_out: dict[str, list[float]] = defaultdict(list)
    for degree in degrees:
        kept = [point for point in points if point.tensor_parallel != degree]
        own = [point for point in points if point.tensor_parallel == degree]
        for phase, error in errors_percent(own, fit_power(kept)).items():
            left_out[phase].append(error)
    return {
        "shipped": errors_percent(points, shipped),
        "degree left out": {phase: float(np.mean(values)) for phase, values in left_out.items()},
    }
