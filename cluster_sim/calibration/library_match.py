"""Library entries that the names of models and GPUs in data sets and benchmarks mean."""

import re
from pathlib import Path
from typing import Final

from cluster_sim.conf_directory import is_file, library_names
from cluster_sim.errors import InputError
from cluster_sim.hardware.device import Device, load_device
from cluster_sim.hardware.model import Model, load_model
from cluster_sim.shown_values import MOST_OF_PATH, shortened
from cluster_sim.suggestion import suggestion

DEVICE_PATTERNS: Final = (
    (r"h100.*pcie", "h100-pcie"),
    (r"gb300", "gb300"),
    (r"gb200", "gb200"),
    (r"b300", "b300"),
    (r"b200", "b200"),
    (r"h200", "h200"),
    (r"h100", "h100-sxm"),
    (r"a100.*40", "a100-40gb"),
    (r"a100", "a100-80gb"),
    (r"l40s", "l40s"),
    (r"a6000", "a6000"),
    (r"a40\b", "a40"),
    (r"4090", "rtx-4090"),
    (r"rtx.?(pro)?.?6000", "rtx-pro-6000"),
    (r"mi300x", "mi300x"),
    (r"tpu", "tpu-v6e"),
)
"""First match wins, on the lower-cased name."""

SAME_ARCHITECTURE: Final = {"llama-3.3-70b": "llama-3.1-70b"}
"""Later trainings of an architecture that the library holds under another name."""

_NOISE: Final = re.compile(
    r"(-hf|-chat|-instruct|-it|-base|-dynamic|-v\d+(\.\d+)*|-2507|-2407|-fp8|-fp16|-bf16)(?=-|$)"
)


def match_device(name: str) -> Device:
    """Return the device that ``name`` means; InputError when none does."""
    if name in library_names("devices") or is_file(Path(name)):
        return load_device(name)
    lowered = name.lower()
    for pattern, device in DEVICE_PATTERNS:
        if re.search(pattern, lowered):
            return load_device(device)
    raise InputError(f"unknown device {shortened(name, MOST_OF_PATH)}; known: {', '.join(library_names('devices'))}")


def known_models() -> list[Model]:
    """Return every model of the library."""
    return [load_model(name) for name in library_names("models")]


def match_model(name: str, quantization: str | None = None, among: list[Model] | None = None) -> Model:
    """Return the model that a name (usually a Hugging Face repository) means, quantised where the name says so; a path
    of a ``config.json`` or of its folder means that model.

    Exact repositories come first, then names that agree but for suffixes such as "-Instruct"; ``quantization`` or an
    "fp8" in the name of a model that the library holds unquantised quantises its projections.  Raises InputError when
    no entry fits.
    """
    own = Path(name)
    for path in (own / "config.json", own):
        if among is None and is_file(path):
            return load_model(str(path))
    models = known_models() if among is None else among
    wanted = name.strip().lower()
    is_fp8 = "fp8" in wanted or quantization == "fp8"
    exact = [model for model in models if wanted in {model.hf_id.lower(), model.name.lower()}]
    plain = canonical(wanted)
    plain = SAME_ARCHITECTURE.get(plain, plain)
    similar = [model for model in models if plain in {canonical(model.hf_id), canonical(model.name)}]
    for model in exact + similar:
        if (model.weight_dtype == "fp8") == is_fp8 or (exact and model is exact[0] and quantization is None):
            return model
    if not similar:
        known_names = [model.name for model in models]
        hint = suggestion(name, known_names)
        raise InputError(f"unknown model {shortened(name, MOST_OF_PATH)}{hint}; known: {', '.join(known_names)}")
    base = similar[0]
    return base.model_copy(update={"weight_dtype": "fp8" if is_fp8 else None})


def canonical(name: str) -> str:
    """Return the part of a model's name that tells architectures apart."""
    short = name.lower().split("/")[-1].split("(")[0].strip().replace("_", "-").removeprefix("meta-")
    previous = ""
    while previous != short:
        previous, short = short, _NOISE.sub("", short)
    return short
