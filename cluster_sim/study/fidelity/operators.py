"""Predictors for runs on GPUs without end-to-end data, from operator profiles beside the measurements.

The engine's own time per step and sequence, which kernels do not contain, comes from a frozen profile of the engine.
"""

from pathlib import Path
from typing import Final

from cluster_sim.config.errors import InputError
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
            _, engine = resolve_coefficients(engine_profile, setup.device, setup.hardware.version)
            overheads = Overheads(step_us=engine.step_us, sequence_us=engine.sequence_us)
            return TablePredictor(profile, setup.model, setup.device, case.tensor_parallel, 1, overheads)
    raise InputError(f"no operator profile of {case.model} with TP {case.tensor_parallel} on {case.device}")
