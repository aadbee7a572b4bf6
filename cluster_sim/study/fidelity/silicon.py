"""aiconfigurator's measurements: TensorRT-LLM, SGLang and vLLM at fixed lengths and fixed concurrency.

Design: the client is a closed loop of equal requests, whose steady state has a closed form.  With C requests running,
C / n of them are replaced in every step (n output tokens), so a decode step of C sequences is lengthened by C / n
prompts of p tokens:

    TPOT = T(C decodes, C (p + n / 2) cached tokens) + (C / n) (T(the same and one prompt) - T(the same)).

Attention data parallelism divides C over its ranks; experts are divided over all GPUs of the configuration.
"""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from cluster_sim.config.engine import Engine
from cluster_sim.config.errors import InputError
from cluster_sim.config.predictor import PhysicalPredictor as PhysicalConfig
from cluster_sim.hardware.build import build_predictor
from cluster_sim.hardware.engine_limits import limits_of
from cluster_sim.hardware.model import Model
from cluster_sim.hardware.predictor import BatchShape, Predictor
from cluster_sim.hardware.sharding import ExpertLayout
from cluster_sim.study.fidelity.case import Skipped
from cluster_sim.study.fidelity.library_match import known_models, match_device, match_model
from cluster_sim.study.fidelity.measure import percentage_error
from cluster_sim.study.fidelity.tables import read_rows

DATASET: Final = "aic-silicon-e2e"
FEWEST_RANKED: Final = 5
"""Fewest rows of a group whose order says something."""
COLUMNS: Final = (
    "id",
    "backend",
    "model_path",
    "system",
    "precision",
    "mode",
    "isl",
    "osl",
    "tp_size",
    "attention_dp_size",
    "moe_ep_size",
    "moe_tp_size",
    "silicon_tpot_ms",
    "concurrency",
)


@dataclass(frozen=True, slots=True)
class Point:
    """One measured configuration and what the model says of it."""

    run: str
    group: tuple[str, str, int, str]
    """(model, device, GPUs, backend)."""
    measured_s: float
    simulated_s: float


class SteadyState:
    """The closed form over one frozen profile; predictors are built once per configuration."""

    def __init__(self, profile: str) -> None:
        self._config = PhysicalConfig(kind="physical", profile=profile)
        self._models = known_models()
        self._predictors: dict[tuple[str, str, str, int, int], tuple[Predictor, str]] = {}

    def point(self, row: dict[str, str]) -> Point:
        """Return a row measured and simulated; raises InputError or ValueError with the reason why it cannot be."""
        if not row["silicon_tpot_ms"] or not row["concurrency"]:
            raise ValueError("no measured TPOT or concurrency")
        tensor = int(float(row["tp_size"] or 1))
        ranks = max(1, int(float(row["attention_dp_size"] or 1)))
        key = (row["model_path"], row["precision"], row["system"], tensor, ranks)
        if key not in self._predictors:
            self._predictors[key] = self._build(*key)
        predictor, model = self._predictors[key]
        concurrency = max(1, round(float(row["concurrency"]) / ranks))
        prompt, output = int(float(row["isl"])), int(float(row["osl"]))
        step_s = steady_tpot_s(predictor, concurrency, prompt, output)
        group = (model, row["system"], tensor * ranks, row["backend"])
        return Point(row["id"], group, float(row["silicon_tpot_ms"]) / 1e3, step_s)

    def _build(self, name: str, precision: str, system: str, tensor: int, ranks: int) -> tuple[Predictor, str]:
        device = match_device(system)
        model = _quantized(match_model(name, among=self._models), precision)
        experts = ExpertLayout(ranks if model.is_moe else 1)
        engine = limits_of(Engine(), device)
        return build_predictor(self._config, model, device, tensor, 1, engine, experts), model.name


def steady_tpot_s(predictor: Predictor, concurrency: int, prompt_tokens: int, output_tokens: int) -> float:
    """Return the closed form of the module's text, s."""
    cached = round(concurrency * (prompt_tokens + output_tokens / 2))
    decode = predictor.step_ns(BatchShape(decodes=concurrency, decode_kv_tokens=cached))
    shape = BatchShape(
        decodes=concurrency, decode_kv_tokens=cached, prefills=[(prompt_tokens, 0)], completed_prefills=1
    )
    mixed = predictor.step_ns(shape)
    return (decode + concurrency / output_tokens * (mixed - decode)) / 1e9


def score_silicon(folder: Path, profile: str) -> tuple[list[Point], list[Skipped]]:
    """Return every aggregated row that the libraries can express, and the others with reasons."""
    points: list[Point] = []
    skipped: list[Skipped] = []
    steady = SteadyState(profile)
    for row in read_rows(folder / "measured.csv.gz", COLUMNS):
        if row["mode"] != "agg":
            skipped.append(Skipped(DATASET, row["id"], "prefill and decode apart"))
            continue
        try:
            points.append(steady.point(row))
        except (InputError, ValueError) as error:
            skipped.append(Skipped(DATASET, row["id"], str(error).split(";", maxsplit=1)[0]))
    return points, skipped


def summary(points: list[Point]) -> dict[str, float]:
    """Return TPOT errors in percent over groups and over rows, rank correlations over all and within groups, counts."""
    by_group: dict[tuple[str, str, int, str], list[Point]] = defaultdict(list)
    for point in points:
        by_group[point.group].append(point)
    means = [
        float(np.mean([percentage_error(point.simulated_s, point.measured_s) for point in each]))
        for each in by_group.values()
    ]
    correlations = [rank_correlation(each) for each in by_group.values() if len(each) >= FEWEST_RANKED]
    every = [percentage_error(point.simulated_s, point.measured_s) for point in points]
    return {
        "tpot_mean": float(np.mean(means)) if means else float("nan"),
        "tpot_mean_of_rows": float(np.mean(every)) if every else float("nan"),
        "tpot_median_of_rows": float(np.median(every)) if every else float("nan"),
        "rank_correlation": rank_correlation(points),
        "rank_correlation_within_groups": float(np.mean(correlations)) if correlations else float("nan"),
        "n": len(means),
        "rows": len(points),
    }


def rank_correlation(points: list[Point]) -> float:
    """Return Spearman's rank correlation of simulated and measured TPOT; NaN for fewer than three points."""
    if len(points) < 3:
        return float("nan")
    a = np.argsort(np.argsort([point.measured_s for point in points], kind="stable"))
    b = np.argsort(np.argsort([point.simulated_s for point in points], kind="stable"))
    return float(np.corrcoef(a, b)[0, 1])


def _quantized(model: Model, precision: str) -> Model:
    """Return the model with its projections in the row's precision."""
    if precision in {"fp8", "fp4", "int4", "int8"} and model.expert_weight_dtype is None:
        return model.model_copy(update={"weight_dtype": precision})
    return model
