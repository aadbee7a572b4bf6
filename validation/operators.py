"""Predictors for runs on GPUs without end-to-end data, from operator profiles beside the measurements.

The engine's own time per step and sequence, which kernels do not contain, comes from a calibration of the engine;
collectives, which the profiles lack, from the link that the run's own configuration names.

Attention was measured at equal context lengths, and again at unequal ones beside equal ones of the same mean: what the
latter take longer, for each number of decodes, in proportion to the coefficient of variation of the contexts, is added
for the spread that the workload's contexts have.
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from cluster_sim.calibration.case import Case
from cluster_sim.calibration.case_run import ResolvedCase
from cluster_sim.calibration.library_match import canonical
from cluster_sim.calibration.tables import read_rows
from cluster_sim.errors import InputError
from cluster_sim.hardware.predictors.calibration_file import resolve_coefficients
from cluster_sim.hardware.predictors.collectives import Collectives
from cluster_sim.hardware.predictors.csv_table import find_table
from cluster_sim.hardware.predictors.kinds.table import Overheads, TablePredictor
from cluster_sim.hardware.predictors.lockstep import LockstepPredictor
from cluster_sim.hardware.predictors.operator_profile import OperatorProfile
from cluster_sim.hardware.predictors.predictor_interface import Predictor
from cluster_sim.hardware.profiling.import_llmservingsim import import_llmservingsim, plain_name

FOLDER: Final = "llmservingsim-op-profiles"
DTYPE: Final = "bf16"
SKEW_COLUMNS: Final = ("regime", "n", "nb", "kvs", "kv_big", "kv_mean", "t_mean_us", "t_skew_us")


class Spread(NamedTuple):
    """Contexts of running requests."""

    mean_tokens: float
    variation: float
    """Standard deviation over mean."""


def find_operators(data: Path, checkout: Path) -> Path | None:
    """Return the folder of operator profiles in ``data``, else in the shared ground truth beside the checkout."""
    for folder in (data / FOLDER, checkout.parent / "shared" / "ground-truth" / FOLDER):
        if folder.is_dir():
            return folder
    return None


def operator_predictor(resolved: ResolvedCase, folder: Path, calibration: str) -> Predictor:
    """Return the table predictor of a case; InputError when no profile fits its device, model and degree."""
    case, hardware = resolved.case, resolved.hardware
    wanted = canonical(case.model)
    for device in sorted(folder.iterdir()):
        if plain_name(device.name) != plain_name(case.device):
            continue
        for model in sorted(device.glob("*/*")):
            source = model / DTYPE
            if canonical(model.name) != wanted or not (source / f"tp{case.tensor_parallel}").is_dir():
                continue
            profile = import_llmservingsim(source, hardware.device.name, hardware.model.name, case.tensor_parallel)
            spread = context_spread(case)
            stretched = stretch_attention(profile, unequal_contexts(source / f"tp{case.tensor_parallel}", spread))
            _, engine = resolve_coefficients(calibration, hardware.device, hardware.engine.version)
            rank = TablePredictor(
                stretched,
                hardware,
                overheads=Overheads(
                    step_us=engine.step_us + engine.gap_us, sequence_us=engine.sequence_us + engine.gap_sequence_us
                ),
                collectives=named_link(case),
            )
            return rank if hardware.experts.ranks == 1 else LockstepPredictor(rank, hardware.experts.ranks)
    raise InputError(f"no operator profile of {case.model} with TP {case.tensor_parallel} on {case.device}")


def named_link(case: Case) -> Collectives | None:
    """Return the link between the GPUs as the run's own configuration has it, None if it names none."""
    if not case.link_bytes_per_s:
        return None
    return Collectives(case.link_latency_us, case.link_bytes_per_s)


def context_spread(case: Case) -> Spread:
    """Return mean and variation of the contexts that a request has while it runs, over time and over requests."""
    prompt = case.requests.prompt_tokens.astype(np.float64)
    output = case.requests.output_tokens.astype(np.float64)
    mean = float((output * (prompt + output / 2)).sum() / output.sum())
    square = float((output * (prompt**2 + prompt * output + output**2 / 3)).sum() / output.sum())
    return Spread(mean, math.sqrt(max(0.0, square / mean**2 - 1.0)))


def unequal_contexts(folder: Path, spread: Spread) -> dict[tuple[bool, int], float]:
    """Return how many times as long attention takes as with equal contexts, by (with a prompt, decodes).

    From the profile's measurements with two lengths of context, those whose mean is within a factor of two of the
    workload's; empty where it has none.
    """
    path = find_table(folder, "skew.csv")
    sums: dict[tuple[bool, int], tuple[float, float]] = {}
    for row in read_rows(path, SKEW_COLUMNS) if path else ():
        decodes, long, mean = int(row["n"]), int(row["nb"]), float(row["kv_mean"])
        if not 0.5 <= mean / spread.mean_tokens <= 2.0:
            continue
        share = long / decodes
        variation = (float(row["kv_big"]) - float(row["kvs"])) * math.sqrt(share * (1.0 - share)) / mean
        excess = float(row["t_skew_us"]) / float(row["t_mean_us"]) - 1.0
        key = (row["regime"] != "pure", decodes)
        above, below = sums.get(key, (0.0, 0.0))
        sums[key] = above + excess * variation, below + variation**2
    return {key: 1.0 + max(0.0, above / below) * spread.variation for key, (above, below) in sums.items() if below}


def stretch_attention(profile: OperatorProfile, factors: dict[tuple[bool, int], float]) -> OperatorProfile:
    """Return the profile with attention of decodes ``factors`` times as long, by (with a prompt, decodes)."""
    rows = tuple(
        replace(row, time_us=row.time_us * factors.get((row.prefill_tokens > 0, row.decodes), 1.0))
        if row.operator == "attention" and row.decodes
        else row
        for row in profile.rows
    )
    return OperatorProfile(profile.info, rows, profile.path)
