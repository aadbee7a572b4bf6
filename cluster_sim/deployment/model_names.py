"""Models of the library that the names in deployments mean."""

import difflib
import re
from pathlib import Path
from typing import Final

from cluster_sim.conf_directory import is_file, library_names, named_by_repository
from cluster_sim.deployment.findings import Findings
from cluster_sim.deployment.server import Stated
from cluster_sim.errors import InputError
from cluster_sim.hardware.model import Model, load_model
from cluster_sim.shown_values import MOST_OF_PATH, shortened

_TRAINING: Final = re.compile(r"-(?:hf|chat|instruct|thinking|it|base|v0\.\d|\d{4}|bf16|fp16)(?=-|$)")
"""Parts of a name that tell trainings of one architecture apart."""

_PRECISIONS: Final = (
    (r"(?:nv|mx)?fp4(?:a16)?", "fp4"),
    (r"fp8(?:-dynamic|-block|-kv)?", "fp8"),
    (r"gptq-int8|int8|w8a8|w8a16|8bit", "int8"),
    (r"awq(?:-int4)?|gptq(?:-int4)?|int4|w4a16|(?:bnb-)?4bit", "int4"),
)
"""Parts of a name that say in which precision the weights are."""


def resolve_model(stated: Stated, findings: Findings) -> tuple[str, Model, str | None]:
    """Return the name of a model for a study, the model, and the quantisation that its name adds to it.

    A folder or file of a ``config.json`` stands for itself.  Raises InputError with the nearest name where the library
    has no such model.
    """
    name = stated.text.removeprefix("hf://").strip("/") if stated.text.startswith("hf://") else stated.text
    own = Path(name)
    for path in (own / "config.json", own):
        if is_file(path) and path.suffix in {".json", ".yaml"}:
            return str(path.resolve()), load_model(str(path)), None
    known = library_names("models")
    entry = name if name in known else named_by_repository("models", name)
    if entry is not None:
        return entry, load_model(entry), None
    plain, precision = _without_precision(name.lower().rpartition("/")[2])
    entry = _of_architecture(plain, known)
    if entry is None:
        raise InputError(_unknown(stated, name, known))
    model = load_model(entry)
    has_it = precision is None or precision in {model.projection_dtype, model.expert_dtype}
    added = None if has_it else precision
    kind = f"taken as {entry} of the library, which is {model.hf_id}{f', in {added}' if added else ''}"
    findings.assume(stated.place, name, f"{kind}; --model says otherwise")
    return entry, model.model_copy(update={"weight_dtype": added}) if added else model, added


def _without_precision(name: str) -> tuple[str, str | None]:
    """Return a name without the part that says its precision, and that precision."""
    for pattern, dtype in _PRECISIONS:
        found = re.search(rf"[-.](?:quantized\.)?(?:{pattern})(?:-g\d+)?(?=-|$)", name)
        if found is not None:
            return name[: found.start()] + name[found.end() :], dtype
    return name, None


def _of_architecture(name: str, known: list[str]) -> str | None:
    """Return the entry whose repository has the same architecture by its name, the most similar of several."""
    plain = _architecture(name)
    ids = {entry: _repository(entry) for entry in known}
    similar = [entry for entry in known if plain in {_architecture(ids[entry]), _architecture(entry)}]
    return max(similar, key=lambda entry: difflib.SequenceMatcher(None, name, ids[entry]).ratio(), default=None)


def _repository(entry: str) -> str:
    return load_model(entry).hf_id.lower().rpartition("/")[2]


def _architecture(name: str) -> str:
    """Return the part of a name that tells architectures apart."""
    short = name.replace("_", "-").removeprefix("meta-")
    return _TRAINING.sub("", _TRAINING.sub("", short))


def _unknown(stated: Stated, name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(_architecture(name.lower().rpartition("/")[2]), known, n=1)
    nearest = f"; the nearest is {close[0]}" if close else ""
    return (
        f"{stated.place}: the model {shortened(name, MOST_OF_PATH)} is not in the library{nearest}; give --model with "
        "the path of its config.json or a name of conf/models"
    )
