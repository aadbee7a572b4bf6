"""Reading of a raw ``config.json``: the figures of its model, or a refusal by the keys that are not understood."""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cluster_sim.errors import InputError
from cluster_sim.hardware.layers.layer import Layer
from cluster_sim.hardware.model_config.config_file import ConfigFile
from cluster_sim.hardware.model_config.cost_keys import unknown_cost_keys
from cluster_sim.hardware.model_config.decoder_keys import Fields, decoder_fields
from cluster_sim.hardware.model_config.expert_keys import experts, sparse_layers
from cluster_sim.hardware.model_config.family import Family, FamilyCatalogue
from cluster_sim.hardware.model_config.quantization import UNQUANTIZED, Quantization
from cluster_sim.hardware.model_config.quantization_methods import KEY, QuantizationReader
from cluster_sim.suggestion import suggestion

TOWERS: Final = {"vision_config": "vision tower", "audio_config": "audio tower", "speech_config": "speech tower"}
"""Keys of further modalities, whose weights and work are not modelled."""
MTP_KEYS: Final = ("num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_modules", "num_mtp_layers")
"""Layers that predict further tokens; they are not used unless speculative decoding asks for them."""


def read_plain(config: ConfigFile) -> Fields:
    """Return the figures of an ordinary decoder, for a file without ``model_type`` or of an unknown one."""

    def more(config: ConfigFile, found: Fields) -> Fields:
        mixture = experts(config)
        return mixture | (sparse_layers(config, found["num_hidden_layers"]) if mixture else {})

    return decoder_fields(config, more)


PLAIN: Final = Family(read_plain, {})


@dataclass(frozen=True, slots=True)
class RawModel:
    """What a raw file says of its model."""

    fields: Fields
    """Figures in the layout of the library's files."""
    quantization: Quantization
    module_names: Mapping[str, tuple[str, ...]]

    def precision(self, layers: Iterable[Layer], head_parameters: int, activation_dtype: str) -> dict[str, Any]:
        """Return the precision of each part of the model's layers."""
        found = self.quantization.precision(layers, head_parameters, activation_dtype, self.module_names)
        return {str(part): value for part, value in found.items()}


def quantization_file(path: Path) -> Path | None:
    """Return the ``hf_quant_config.json`` that belongs to a ``config.json``; None if there is none."""
    beside = path.with_name(path.name.replace("config.json", "hf_quant_config.json"))
    return beside if beside != path and beside.is_file() else None


def read_config(
    path: Path, data: Mapping[str, Any], beside: Mapping[str, Any] | None = None, *, allow_unknown: bool = False
) -> RawModel:
    """Return the model of a file; ``beside`` is what the file of its quantisation holds, if there is one.

    ``allow_unknown`` passes over what is not understood, and says so in the figures.  Raises InputError, with file,
    line and key.
    """
    config = ConfigFile(path, data)
    not_understood: list[str] = []
    family = _family(config, not_understood, allow_unknown=allow_unknown)
    config.set_defaults(family.defaults.get(config.model_type, {}))
    config.use("model_type", KEY)
    left_out = _left_out(config)
    fields = family.read(config)
    quantization = _quantization(config, beside, not_understood, allow_unknown=allow_unknown)
    unknown = unknown_cost_keys(config.unused(), family.harmless)
    if unknown and not allow_unknown:
        raise InputError(
            f"{config.place(unknown[0])}: not understood for model_type {config.model_type or 'none'}, and it changes "
            f"weights, cache or step times{_further(unknown)}; write the figures into a model file of your own "
            "(conf/models has examples), or pass --allow-unknown to go on without"
        )
    fields |= {
        "name": model_name(path),
        "model_type": config.model_type or "llama",
        "left_out": left_out,
        "not_read": [key for key in config.unused() if key not in unknown],
        "not_understood": [*not_understood, *unknown],
    }
    if quantization.kv_cache_dtype:
        fields["kv_cache_dtype"] = quantization.kv_cache_dtype
    return RawModel(fields, quantization, family.module_names)


def model_name(path: Path) -> str:
    """Return the name of a model by its file: that of the folder for ``config.json``."""
    return path.resolve().parent.name or path.stem if path.name == "config.json" else path.stem


def _family(config: ConfigFile, not_understood: list[str], *, allow_unknown: bool) -> Family:
    catalogue = FamilyCatalogue()
    kind = config.model_type
    if not kind:
        return PLAIN
    found = catalogue.get(kind)
    if found is not None:
        return found
    if not allow_unknown:
        known = catalogue.model_types
        costs = _unusual_keys(config)
        broken = "".join(f"; {failure}" for failure in catalogue.failures)
        seen = f" (its keys that change cost: {', '.join(costs)})" if costs else ""
        raise config.fault(
            "model_type",
            f"{kind!r} is not understood{suggestion(kind, known)}{seen}; known: {', '.join(known)}{broken}; write the "
            "figures into a model file of your own (conf/models has examples), or pass --allow-unknown to read it as "
            "an ordinary decoder",
        )
    not_understood.append("model_type")
    return PLAIN


def _unusual_keys(config: ConfigFile) -> list[str]:
    """Return the keys that change cost and that an ordinary decoder has not."""
    trial = ConfigFile(config.path, config.top)
    with suppress(InputError):
        read_plain(trial)
    return unknown_cost_keys(trial.unused(), frozenset({KEY}))


def _left_out(config: ConfigFile) -> list[str]:
    """Return the parts of the checkpoint that are not modelled."""
    found = [
        f"{tower} ({key})" for key, tower in TOWERS.items() if isinstance(config.top.get(key), dict) and config.top[key]
    ]
    config.use(*TOWERS, *MTP_KEYS)
    config.use(*(key for key in config.keys if re.match(r"mtp_|num_mtp_|vision_|audio_|image_|video_", key)))
    for key in MTP_KEYS:
        count = config.keys.get(key)
        if isinstance(count, int) and count > 0:
            found.append(f"layers that predict further tokens ({key}: {count})")
            break
    return found


def _quantization(
    config: ConfigFile, beside: Mapping[str, Any] | None, not_understood: list[str], *, allow_unknown: bool
) -> Quantization:
    """Return the quantisation by the file itself, or by the file beside it."""
    block, place = config.keys.get(KEY) or config.top.get(KEY), config.place
    if block is None and beside is not None:
        found = quantization_file(config.path)
        block = beside.get("quantization")
        place = ConfigFile(found or config.path, {}).place
    elif block is None:
        return UNQUANTIZED
    if not isinstance(block, dict):
        raise InputError(f"{place('quantization')}: must be a mapping of keys to values")
    try:
        return QuantizationReader(block, place).read()
    except InputError:
        if not allow_unknown:
            raise
        not_understood.append(KEY)
        return UNQUANTIZED


def _further(keys: list[str]) -> str:
    return f" (likewise {', '.join(keys[1:])})" if len(keys) > 1 else ""
