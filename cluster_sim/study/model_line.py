"""One line about a model, as ``validate`` prints it."""

from cluster_sim.hardware.layers.mixer import Part
from cluster_sim.hardware.model import Model
from cluster_sim.hardware.precision import weight_bytes
from cluster_sim.hardware.replica_hardware import ReplicaHardware
from cluster_sim.hardware.sharding import kv_dtype, kv_token_bytes, state_bytes
from cluster_sim.units import GIB


def model_lines(hardware: ReplicaHardware) -> list[str]:
    """Return the line about a model, and one about the keys of its file that change nothing."""
    unread = hardware.model.not_read
    return [model_line(hardware), *([f"  keys without effect here: {', '.join(unread)}"] if unread else [])]


def model_line(hardware: ReplicaHardware) -> str:
    """Return parameters, precision of the weights, and cache of a model, whole and not split over GPUs."""
    model = hardware.model
    line = (
        f"{model.name}: {model.total_parameters / 1e9:.2f} B parameters, {model.active_parameters / 1e9:.2f} B active; "
        f"weights {_precision(hardware)}, {_weight_bytes(hardware) / GIB:.2f} GiB; {_cache(hardware)}"
    )
    if model.left_out:
        line += f"; left out: {', '.join(model.left_out)}"
    if model.not_understood:
        line += f"; NOT UNDERSTOOD and passed over: {', '.join(model.not_understood)}"
    return line


def _weights(model: Model) -> dict[Part, int]:
    """Return the weights of every part that is stored in a precision of its own."""
    counts: dict[Part, int] = {}
    for layer in model.layers:
        for projection in layer.projections():
            counts[projection.part] = counts.get(projection.part, 0) + projection.parameters
    counts["head"] = model.head_parameters
    return counts


def _weight_bytes(hardware: ReplicaHardware) -> float:
    model, counts = hardware.model, _weights(hardware.model)
    converted = sum(hardware.weight_bytes(part) * count for part, count in counts.items())
    rest = model.total_parameters - sum(counts.values())
    return converted + weight_bytes(model.activation_dtype) * rest


def _precision(hardware: ReplicaHardware) -> str:
    """Return the type of the weights, by part where they differ; bits with scales where a type does not say them."""
    model = hardware.model
    names: dict[Part, str] = {}
    for part, count in _weights(model).items():
        if not count:
            continue
        if hardware.engine.weight_dtype and part != "head":
            names[part] = hardware.engine.weight_dtype
            continue
        found = model.part_precision(part)
        bits = f" ({found.bits:.4g} bits)" if found.bits not in {8.0, 16.0, 32.0} else ""
        names[part] = f"{found.dtype}{bits}"
    if len(set(names.values())) == 1:
        return next(iter(names.values()))
    kinds = dict.fromkeys(names.values())
    return ", ".join(
        f"{kind} in {' and '.join(part.replace('_', ' ') for part, own in names.items() if own == kind)}"
        for kind in kinds
    )


def _cache(hardware: ReplicaHardware) -> str:
    """Return the bytes that a token, and with states a sequence, keeps."""
    model = hardware.model
    dtype = kv_dtype(model, hardware.engine.kv_cache_dtype)
    mixers = [layer.mixer for layer in model.layers if layer.mixer is not None]

    def token_bytes(dtype: str) -> int:
        return round(sum(kv_token_bytes(mixer, dtype, 1) for mixer in mixers if mixer.keeps_tokens))

    text = f"KV cache {token_bytes(dtype):,} B a token in {dtype}"
    if dtype != model.activation_dtype:
        text += f" ({token_bytes(model.activation_dtype):,} in {model.activation_dtype})"
    if model.attention_layers < model.num_hidden_layers:
        text += f", in {model.attention_layers} of {model.num_hidden_layers} layers"
    state = sum(state_bytes(model, mixer, 1) for mixer in mixers)
    return text + (f"; states {round(state):,} B a sequence" if state else "")
