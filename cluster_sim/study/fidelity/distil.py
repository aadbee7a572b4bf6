"""From measured operators to the few coefficients of the physical step model, per device.

Design: the table predictor composes an operator profile into step times; the coefficients are those whose step times
over a grid of batches come closest in relative terms, by Gauss-Newton on their logarithms with weak priors.  What
kernels do not contain (the engine's own time, its sampler) is taken from an engine's profile and not touched.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from cluster_sim.hardware.device import Device
from cluster_sim.hardware.model import Model
from cluster_sim.hardware.physical import Coefficients, PhysicalPredictor
from cluster_sim.hardware.predictor import BatchShape, Predictor
from cluster_sim.study.fidelity.case import FloatArray

KERNEL_COEFFICIENTS: Final = {
    "layer_us": (30.0, 0.7),
    "gemm_memory_ratio": (0.85, 0.15),
    "moe_memory_ratio": (0.8, 0.3),
    "kv_memory_ratio": (0.8, 0.4),
    "gemm_flops_ratio": (0.65, 0.3),
    "attention_flops_ratio": (0.4, 0.6),
    "moe_layer_us": (30.0, 0.8),
    "mix_layer_us": (3.0, 1.0),
}
"""Coefficients that kernels decide: prior and its width in the logarithm."""
PRIOR_WEIGHT: Final = 0.02
ROUNDS: Final = 12


@dataclass(frozen=True, slots=True)
class Composed:
    """One operator profile as a predictor."""

    predictor: Predictor
    model: Model
    tensor_parallel: int


def batches() -> list[BatchShape]:
    """Return the grid of batches: decodes of several sizes and contexts, alone and with a prompt chunk."""
    shapes: list[BatchShape] = []
    for decodes in (1, 4, 16, 48, 96, 128):
        for context in (256, 1024, 3072):
            cached = decodes * context
            shapes.append(BatchShape(decodes=decodes, decode_kv_tokens=cached))
            shapes += [BatchShape(decodes, cached, [(chunk, 0)], 1) for chunk in (128, 900)]
    return shapes


def distil(composed: Sequence[Composed], device: Device, engine: dict[str, float]) -> tuple[dict[str, float], float]:
    """Return the kernel coefficients for ``device`` and the mean absolute relative error left, in percent.

    ``engine`` gives every other coefficient; those that are not in kernels count as zero while fitting.
    """
    shapes = batches()
    measured = [np.array([each.predictor.step_ns(shape) for shape in shapes], np.float64) for each in composed]
    names = list(KERNEL_COEFFICIENTS)
    if not any(each.model.is_moe for each in composed):
        names = [name for name in names if not name.startswith("moe_")]
    priors = np.array([KERNEL_COEFFICIENTS[name][0] for name in names])
    widths = np.array([KERNEL_COEFFICIENTS[name][1] for name in names])
    silent = {"step_us": 0.0, "sequence_us": 0.0, "sort_us_per_100k": 0.0, "token_us": 0.0}
    fixed = {**engine, **silent}

    def logs(position: FloatArray) -> FloatArray:
        values = dict(zip(names, (priors * np.exp(position)).tolist(), strict=True))
        coefficients = Coefficients(**(fixed | values))
        parts = []
        for each, times in zip(composed, measured, strict=True):
            predictor = PhysicalPredictor(coefficients, each.model, device, each.tensor_parallel)
            parts.append(np.log(np.array([predictor.step_ns(shape) for shape in shapes]) / times))
        return np.concatenate(parts)

    position = np.zeros(len(names))
    for _ in range(ROUNDS):
        here = logs(position)
        jacobian = np.stack([(logs(position + step) - here) / 0.01 for step in 0.01 * np.eye(len(names))], axis=1)
        weight = PRIOR_WEIGHT * math.sqrt(len(here))
        matrix = np.vstack([jacobian, np.diag(weight / widths)])
        step = np.linalg.lstsq(matrix, -np.concatenate([here, weight * position / widths]), rcond=None)[0]
        position = position + np.clip(step, -0.5, 0.5)
        if float(np.abs(step).max()) < 1e-3:
            break
    values = dict(zip(names, (priors * np.exp(position)).tolist(), strict=True))
    return values, 100.0 * float(np.abs(np.expm1(logs(position))).mean())
