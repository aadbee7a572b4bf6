"""Predictors for runs on GPUs without end-to-end data, from operator profiles beside the measurements.

The engine's own time per step and sequence, which kernels do not contain, comes from a frozen profile of the engine.

Attention was measured at equal context lengths.  At unequal ones its authors found T = T(mean) + alpha (T(longest) -
T(mean)), alpha in the profile's own meta file.  A batch's shape has no longest context, so the workload's is taken:
with attention proportional to the context, decode attention takes 1 + alpha (longest / mean - 1) times as long.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml

from cluster_sim.config.errors import InputError
from cluster_sim.hardware.model import Model
from cluster_sim.hardware.operator_profile import OperatorProfile
from cluster_sim.hardware.predictor import Predictor
from cluster_sim.hardware.profile import resolve_coefficients
from cluster_sim.hardware.profile_import import import_llmservingsim, plain_name
from cluster_sim.hardware.table import Overheads, TablePredictor
from cluster_sim.study.fidelity.case import Case
from cluster_sim.study.fidelity.library_match import canonical
from cluster_sim.study.fidelity.replay import Setup

FOLDER: Final = "llmservingsim-op-profiles"
DTYPE: Final = "bf16"


def find_operators(data: Path, checkout: Path) -> Path | None:
    """Return the folder of operator profiles in ``data``, else in the shared ground truth beside the checkout."""
    for folder in (data / FOLDER, checkout.parent / "shared" / "ground-truth" / FOLDER):
        if folder.is_dir():
            return folder
    return None


def _exchange(case: Case, model: Model) -> dict[str, Any]:
    """What ranks that share the experts add: around each MoE layer every rank gathers the others' tokens and scatters
    the results back, and all wait for the slowest.
    """
    if not case.expert_parallel or case.replicas < 2 or not case.link_bytes_per_s:
        return {}
    share = model.moe_layers / model.num_hidden_layers
    moved = 2 * (case.replicas - 1) * model.hidden_size * 2
    return {
        "layer_us": share * 2 * case.link_latency_us,
        "layer_us_per_token": share * moved / case.link_bytes_per_s * 1e6,
        "lockstep_ranks": case.replicas,
    }


def operator_predictor(case: Case, setup: Setup, folder: Path, engine_profile: str) -> Predictor:
    """Return the table predictor of a case; InputError when no profile fits its device, model and degree."""
    wanted = canonical(case.model)
    for device in sorted(folder.iterdir()):
        if plain_name(device.name) != plain_name(case.device):
            continue
        for model in sorted(device.glob("*/*")):
            source = model / DTYPE
            if canonical(model.name) != wanted or not (source / f"tp{case.tensor_parallel}").is_dir():
                continue
            profile = import_llmservingsim(source, setup.device.name, setup.model.name, case.tensor_parallel)
            profile = stretch_attention(profile, 1.0 + skew_alpha(source, case.tensor_parallel) * excess_context(case))
            _, engine = resolve_coefficients(engine_profile, setup.device, setup.hardware.version)
            overheads = Overheads(
                step_us=engine.step_us, sequence_us=engine.sequence_us, **_exchange(case, setup.model)
            )
            arguments = profile, setup.model, setup.device, case.tensor_parallel, 1, overheads
            return TablePredictor(*arguments, setup.experts)
    raise InputError(f"no operator profile of {case.model} with TP {case.tensor_parallel} on {case.device}")


def skew_alpha(source: Path, tensor_parallel: int) -> float:
    """Return the profile's alpha of unequal context lengths, 0 where its meta file has none."""
    path = source / "meta.yaml"
    if not path.is_file():
        return 0.0
    content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    by_degree = (content.get("skew_fit") or {}).get("per_tp") or {}
    return float((by_degree.get(tensor_parallel) or {}).get("alpha_default", 0.0))


def excess_context(case: Case) -> float:
    """Return by how much the longest context of a batch exceeds the mean one, as a share of it.

    A request stands at half its output on average; the longest of a full batch is near the workload's 99th percentile.
    """
    table = case.requests
    mean = float((table.prompt_tokens + table.output_tokens / 2).mean())
    return max(0.0, float(np.percentile(table.prompt_tokens + table.output_tokens / 2, 99)) / mean - 1.0)


def stretch_attention(profile: OperatorProfile, factor: float) -> OperatorProfile:
    """Return the profile with attention of decodes ``factor`` times as long."""
    rows = tuple(
        replace(row, time_us=row.time_us * factor) if row.operator == "attention" and row.decodes else row
        for row in profile.rows
    )
    return OperatorProfile(profile.info, rows, profile.path)
