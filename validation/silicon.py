"""aiconfigurator's measurements: TensorRT-LLM, SGLang and vLLM at fixed lengths and fixed concurrency.

Design: the client is a closed loop of equal requests, whose steady state has a closed form.  With R requests running,
R / n of them are replaced in every step (n output tokens), so a decode step of R sequences is lengthened by R / n
prompts of p tokens:

    TPOT = T(R decodes, R (p + n / 2) cached tokens) + i (R / n) (T(the same and one prompt) - T(the same)).

R is the concurrency, or as many requests as the KV cache holds.  i = 1 where prompts come one by one.  SGLang computes
waiting prompts before any decode and in steps of their own, so that the difference becomes T(one prompt), which reads
all weights again; requests of one length that start together end together and only the prompts
behind its own hold up a request, half of them on average: i = 1/2.  InferenceMAX, whose three pairs of lengths these
are, draws lengths from 80 to 100 % of them, and its requests do not keep step.

Attention data parallelism divides the concurrency over its ranks; experts are divided over all GPUs.  Coefficients are
those of vLLM on H100, carried over to each engine's kernels on each device by operator timings: nothing is fitted.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from cluster_sim.calibration.latency_figures import percentage_error
from cluster_sim.calibration.library_match import known_models, match_device, match_model
from cluster_sim.calibration.tables import read_rows
from cluster_sim.errors import InputError
from cluster_sim.hardware.batch_shape import BatchShape
from cluster_sim.hardware.memory_plan import hybrid_block_size, plan_memory
from cluster_sim.hardware.model import Model
from cluster_sim.hardware.predictors.calibration_file import load_calibration, load_operator_ratios
from cluster_sim.hardware.predictors.error_band_file import ShownFor
from cluster_sim.hardware.predictors.kinds.physical import PhysicalPredictor
from cluster_sim.hardware.predictors.measured_with import architecture_class, precision
from cluster_sim.hardware.predictors.predictor_interface import Predictor
from cluster_sim.hardware.replica_hardware import ExpertSharding, ReplicaHardware
from cluster_sim.serving.schedulers.engine_options import engine_options
from cluster_sim.units import NS_PER_S
from validation.scoring import Skipped
from validation.silicon_contradictions import Run, Series, row_contradiction, unequal_runs

DATASET: Final = "aic-silicon-e2e"
RANDOM_LENGTHS: Final = ((1024, 1024), (1024, 8192), (8192, 1024))
"""(prompt, output) of InferenceMAX's scenarios."""
FP8_CACHE_ENGINES: Final = ("trtllm",)
"""Engines whose checkpoints in fp8 or fp4 bring scales of an fp8 cache and so get one; Qwen's own bring none."""
TRAINED: Final = {"name", "hf_id", "source", "default_sampling"}
"""What models of equal shape may differ in."""
FEWEST_RANKED: Final = 5
"""Fewest rows of a group whose order says something."""
COLUMNS: Final = (
    "id",
    "silicon_data_source",
    "backend",
    "backend_version",
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
    "silicon_ttft_ms",
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
    contradiction: str = ""
    """Why the row cannot be right by its own figures, or those of another."""


class Degrees(NamedTuple):
    """Parallelism of a row."""

    tensor: int
    ranks: int
    expert_groups: int = 1
    """GPUs over which whole experts are spread."""


class Prompts(NamedTuple):
    """How prompts hold up those that decode."""

    interruptions: float = 1.0
    """The i of the module's text."""
    is_alone: bool = False
    """Whether they are computed in steps of their own."""


PLAIN_PROMPTS: Final = Prompts()
"""One by one, beside the decodes."""


class Server(NamedTuple):
    """One configuration made ready."""

    predictor: Predictor
    model: str
    cached_tokens: int
    """Capacity of one rank's KV cache; 0 if the model does not fit by the memory plan."""
    hardware: ReplicaHardware


class SteadyState:
    """The closed form over one calibration; predictors are built once per configuration."""

    def __init__(self, calibration: str) -> None:
        self._calibration = load_calibration(calibration)
        operators = self._calibration.operators
        self._operators = load_operator_ratios(operators) if operators else None
        self._models = known_models()
        self._servers: dict[tuple[str, str, str, str, Degrees], Server] = {}

    def point(self, row: dict[str, str]) -> Point:
        """Return a row measured and simulated; raises InputError or ValueError with the reason why it cannot be."""
        if not row["silicon_tpot_ms"] or not row["concurrency"]:
            raise ValueError("no measured TPOT or concurrency")
        server, degrees = self.server(row)
        in_flight = max(1, round(float(row["concurrency"]) / degrees.ranks))
        prompt, output = _count(row["isl"]), _count(row["osl"])
        concurrency = in_flight
        if server.cached_tokens:
            concurrency = max(1, min(in_flight, int(server.cached_tokens / (prompt + output / 2))))
        prompts = Prompts(is_alone=row["backend"] == "sglang")
        if prompts.is_alone and (prompt, output) not in RANDOM_LENGTHS:
            prompts = prompts._replace(interruptions=0.5)
        step_s = steady_tpot_s(server.predictor, concurrency, prompt, output, prompts)
        group = (server.model, row["system"], degrees.tensor * degrees.ranks, row["backend"])
        measured_s = float(row["silicon_tpot_ms"]) / 1e3
        contradiction = ""
        if row.get("silicon_ttft_ms"):
            times_s = (float(row["silicon_ttft_ms"]) / 1e3, measured_s)
            contradiction = row_contradiction(server.hardware, in_flight, concurrency, (prompt, output), times_s)
        return Point(row["id"], group, measured_s, step_s, contradiction)

    def run(self, row: dict[str, str]) -> Run:
        """Return a row as far as equal ones are told by it; models that differ in training alone are the same."""
        server, degrees = self.server(row)
        model = server.hardware.model.model_dump_json(exclude=TRAINED)
        configuration = (row["backend"], row["system"], row["precision"], *map(str, degrees), model)
        measured = re.search(r"measured=([^;]*)", row["silicon_data_source"])
        when = measured[1] if measured else ""
        return Run(
            row["id"],
            Series(configuration, when[: len("2026-01-31")], row["backend_version"]),
            (_count(row["isl"]), _count(row["osl"])),
            float(row["concurrency"]),
            float(row["silicon_tpot_ms"]) / 1e3,
            (row["backend"], row["backend_version"], model, when),
        )

    def server(self, row: dict[str, str]) -> tuple[Server, Degrees]:
        """Return the server of a row made ready, and its degrees; raises InputError where the libraries lack it."""
        degrees = degrees_of(row, match_device(row["system"]).gpus_per_node)
        key = (row["model_path"], row["precision"], row["system"], row["backend"], degrees)
        if key not in self._servers:
            self._servers[key] = self._build(*key)
        return self._servers[key], degrees

    def hardware(self, row: dict[str, str]) -> ReplicaHardware:
        """Return the replica of a row; raises InputError where the libraries lack it."""
        device = match_device(row["system"])
        degrees = degrees_of(row, device.gpus_per_node)
        model = _quantized(match_model(row["model_path"], among=self._models), row["precision"])
        experts = expert_sharding(model, degrees)
        return ReplicaHardware(
            model, device, engine_options().hardware_settings(device), degrees.tensor, experts=experts
        )

    def _build(self, name: str, dtype: str, system: str, backend: str, degrees: Degrees) -> Server:
        device = match_device(system)
        model = _quantized(match_model(name, among=self._models), dtype)
        has_fp8_cache = backend in FP8_CACHE_ENGINES and dtype in {"fp8", "fp4"} and not name.startswith("Qwen/")
        engine = replace(
            engine_options().hardware_settings(device),
            kernels=backend,
            kv_cache_dtype="fp8" if has_fp8_cache else None,
        )
        experts = expert_sharding(model, degrees)
        hardware = ReplicaHardware(model, device, engine, degrees.tensor, experts=experts)
        coefficients = self._calibration.resolve(device, None, self._operators, backend, hardware.expert_format)
        predictor = PhysicalPredictor(coefficients, hardware)
        # Blocks of a model with states are as large as a state: its engines choose them so.
        planned = replace(hardware, engine=replace(engine, block_size=hybrid_block_size(hardware)))
        try:
            plan = plan_memory(planned)
        except InputError:
            return Server(predictor, model.name, 0, hardware)
        return Server(predictor, model.name, plan.kv_tokens, hardware)


def degrees_of(row: dict[str, str], gpus_per_node: int) -> Degrees:
    """Return the degrees of a row.

    Where experts are spread by t ways of tensor and t of expert parallelism, the table gives t squared for the GPUs of
    one node of t: the same measurements stand in other rows with t.  So it does where t ways of tensor parallelism
    were used for the experts and t ranks for attention.
    """
    tensor, ranks = _count(row["tp_size"]), _count(row["attention_dp_size"])
    ways, groups = _count(row["moe_tp_size"]), _count(row["moe_ep_size"])
    if tensor * ranks > gpus_per_node:
        if ways == groups and ways * ways == tensor * ranks:
            return Degrees(1, ways, ways) if ranks > 1 else Degrees(ways, 1, ways)
        if tensor == ranks and groups == tensor * ranks:
            return Degrees(1, ranks, ranks)
    return Degrees(tensor, ranks, groups)


def expert_sharding(model: Model, degrees: Degrees) -> ExpertSharding:
    """Return how a row's GPUs share the experts, if there are any."""
    return ExpertSharding(degrees.ranks, groups=degrees.expert_groups) if model.is_moe else ExpertSharding()


def _count(text: str) -> int:
    """Return a count of the table, 1 where it is empty or 0."""
    return max(1, int(float(text or 1)))


def steady_tpot_s(
    predictor: Predictor, concurrency: int, prompt_tokens: int, output_tokens: int, prompts: Prompts = PLAIN_PROMPTS
) -> float:
    """Return the closed form of the module's text, s."""
    cached = round(concurrency * (prompt_tokens + output_tokens / 2))
    decode = predictor.step_ns(BatchShape(decodes=concurrency, decode_kv_tokens=cached))
    shape = BatchShape(
        decodes=concurrency, decode_kv_tokens=cached, prefills=[(prompt_tokens, 0)], completed_prefills=1
    )
    prompt = predictor.step_ns(shape) - decode
    if prompts.is_alone:
        prompt = predictor.step_ns(BatchShape(prefills=[(prompt_tokens, 0)], completed_prefills=1))
    return (decode + prompts.interruptions * concurrency / output_tokens * prompt) / NS_PER_S


def score_silicon(folder: Path, calibration: str) -> tuple[list[Point], list[Skipped]]:
    """Return every aggregated row that the libraries can express, and the others with reasons."""
    points: list[Point] = []
    skipped: list[Skipped] = []
    steady = SteadyState(calibration)
    scored: list[Run] = []
    for row in read_rows(folder / "measured.csv.gz", COLUMNS):
        if row["mode"] != "agg":
            skipped.append(Skipped(DATASET, row["id"], "prefill and decode apart"))
            continue
        try:
            points.append(steady.point(row))
            scored.append(steady.run(row))
        except (InputError, ValueError) as error:
            skipped.append(Skipped(DATASET, row["id"], str(error).split(";", maxsplit=1)[0]))
    found = unequal_runs(scored)
    return [replace(point, contradiction=point.contradiction or found.get(point.run, "")) for point in points], skipped


def configurations(folder: Path, calibration: str, scored: set[str]) -> Iterator[ShownFor]:
    """Yield what the scored rows were measured with."""
    steady = SteadyState(calibration)
    for row in read_rows(folder / "measured.csv.gz", COLUMNS):
        if row["id"] in scored:
            hardware = steady.hardware(row)
            yield ShownFor(
                kernels=row["backend"],
                device_architecture=hardware.device.architecture,
                architecture=architecture_class(hardware.model),
                precision=precision(hardware),
            )


def summary(points: list[Point]) -> dict[str, float]:
    """Return TPOT errors in percent over groups and over rows, rank correlations over all and within groups, counts."""
    by_group: dict[tuple[str, str, int, str], list[Point]] = defaultdict(list)
    for point in points:
        by_group[point.group].append(point)
    means = [
        float(np.mean([percentage_error(point.simulated_s, point.measured_s) for point in group]))
        for group in by_group.values()
    ]
    correlations = [rank_correlation(group) for group in by_group.values() if len(group) >= FEWEST_RANKED]
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
    """Return the model with its projections in the row's precision; files that store experts in it stay as they are."""
    if "experts" in model.precision:
        if model.precision["experts"].dtype == precision:
            return model
        model = model.model_copy(update={"precision": {}})
    if precision in {"fp8", "fp4", "int4", "int8"} and model.expert_weight_dtype is None:
        return model.model_copy(update={"weight_dtype": precision})
    return model
