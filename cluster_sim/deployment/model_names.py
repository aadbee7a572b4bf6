"""Models of the library that the names in deployments mean."""

import difflib
import re
from pathlib import Path
from typing import Final

from cluster_sim.calibration.library_match import SAME_ARCHITECTURE, known_models
from cluster_sim.deployment.findings import Findings
from cluster_sim.deployment.server import Stated
from cluster_sim.errors import InputError
from cluster_sim.hardware.model import Model, load_model

_TRAINING: Final = re.compile(r"-(?:hf|chat|instruct|it|base|v0\.\d|\d{4}|bf16|fp16|fp8-dynamic|fp8)(?=-|$)")
"""Parts of a name that tell trainings and precisions of one architecture apart."""


def resolve_model(stated: Stated, findings: Findings) -> tuple[str, Model, str | None]:
    """Return the name of a model for a study, the model, and the quantisation that its name adds to it.

    A folder or file of a ``config.json`` stands for itself.  Raises InputError with the nearest ids where the library
    has no such model.
    """
    name = stated.text.removeprefix("hf://").strip("/") if stated.text.startswith("hf://") else stated.text
    own = Path(name)
    for path in (own / "config.json", own):
        if path.is_file() and path.suffix in {".json", ".yaml"}:
            return str(path.resolve()), load_model(str(path)), None
    models = known_models()
    for model in models:
        if name.lower() in {model.hf_id.lower(), model.name.lower()}:
            return model.name, model, None
    plain = SAME_ARCHITECTURE.get(_architecture(name), _architecture(name))
    similar = [model for model in models if plain in {_architecture(model.hf_id), _architecture(model.name)}]
    if not similar:
        raise InputError(_unknown(stated, name, models))
    entry = max(similar, key=lambda model: difflib.SequenceMatcher(None, name.lower(), model.hf_id.lower()).ratio())
    added = "fp8" if "fp8" in name.lower() and entry.projection_dtype != "fp8" else None
    text = f"taken as {entry.name} of the library, which is {entry.hf_id}{' in fp8' if added else ''}"
    findings.assume(stated.place, name, f"{text}; --model says otherwise")
    return entry.name, entry.model_copy(update={"weight_dtype": added}) if added else entry, added


def _architecture(name: str) -> str:
    """Return the part of a model's name that tells architectures apart."""
    short = name.lower().rpartition("/")[2].replace("_", "-").removeprefix("meta-")
    return _TRAINING.sub("", _TRAINING.sub("", short))


def _unknown(stated: Stated, name: str, models: list[Model]) -> str:
    ids = {_architecture(model.hf_id): model.hf_id for model in models if model.hf_id}
    close = difflib.get_close_matches(_architecture(name), sorted(ids), n=1)
    nearest = f"; the nearest is {ids[close[0]]}" if close else ""
    return (
        f"{stated.place}: the model {name!r} is not in the library{nearest}; give --model with the path of its "
        "config.json or a name of conf/models"
    )
