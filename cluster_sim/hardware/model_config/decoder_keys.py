"""Keys that most decoders share: sizes, attention heads, windows and dense networks."""

from collections.abc import Callable
from typing import Any

from cluster_sim.hardware.model_config.config_file import MOST_LAYERS, ConfigFile, shown

Fields = dict[str, Any]
"""Figures of a model, by the field names of the library's model files."""

FULL, SLIDING, CHUNKED, LINEAR = "full_attention", "sliding_attention", "chunked_attention", "linear_attention"


def sizes(config: ConfigFile) -> Fields:
    """Return the width, the layers, the vocabulary and the context."""
    found: Fields = {
        "hidden_size": config.integer("hidden_size", "n_embd", "d_model", least=1),
        "num_hidden_layers": config.integer("num_hidden_layers", "n_layer", "num_layers", least=1, most=MOST_LAYERS),
        "vocab_size": config.integer("vocab_size", least=1),
        "max_position_embeddings": config.integer(
            "max_position_embeddings", "max_seq_len", "n_positions", "model_max_length", least=1
        ),
        "tie_word_embeddings": config.flag("tie_word_embeddings"),
        "hidden_act": config.text("hidden_act", "hidden_activation", "mlp_hidden_act", default="silu"),
    }
    dtype = config.text("torch_dtype", "dtype")
    if not dtype and isinstance(config.top.get("torch_dtype"), str):
        dtype = config.top["torch_dtype"]
    if dtype:
        found["torch_dtype"] = dtype
    if config.flag("is_encoder_decoder"):
        raise config.fault("is_encoder_decoder", "models with an encoder and a decoder are not modelled")
    return found


def heads(config: ConfigFile, found: Fields) -> Fields:
    """Return the attention heads; the width of one follows from the others where it is left out."""
    count = config.integer("num_attention_heads", "n_head", least=1)
    kv_heads = config.integer("num_key_value_heads", "num_kv_heads", default=count, least=1)
    width = config.integer("head_dim", "attention_head_dim", default=found["hidden_size"] // count, least=1)
    return {"num_attention_heads": count, "num_key_value_heads": kv_heads, "head_dim": width}


def attention_biases(config: ConfigFile, *, with_output: bool = True) -> Fields:
    """Return the biases; transformers' ``attention_bias`` concerns the output projection as well in most families."""
    has_bias = config.flag("attention_bias") or config.flag("qkv_bias") or config.flag("use_bias")
    return {"attention_bias": has_bias, "attention_output_bias": has_bias and with_output}


def dense_network(config: ConfigFile) -> Fields:
    """Return the width of the dense network, 0 where the file leaves it out."""
    return {"intermediate_size": config.integer("intermediate_size", "n_inner", "ffn_dim", default=0)}


def windows(config: ConfigFile, layers: int) -> Fields:
    """Return the windows: by the type of every layer, by a period, or one for all layers."""
    window = config.integer("sliding_window", default=0)
    chunk = config.integer("attention_chunk_size", default=0)
    is_on = config.flag("use_sliding_window", default=True)
    first = config.value("max_window_layers")
    kinds = layer_types(config, layers)
    pattern = config.value("sliding_window_pattern", "_sliding_window_pattern")
    if kinds is None:
        kinds = _patterned(config, pattern, layers)
    if kinds is None and chunk:
        period = config.integer("no_rope_layer_interval", default=4)
        kinds = periodic(layers, period, CHUNKED)
    if kinds is None and window and config.value("use_sliding_window") is True and isinstance(first, int):
        kinds = [SLIDING if layer >= first else FULL for layer in range(layers)]
    found: Fields = {}
    if kinds is not None:
        found["layer_types"] = kinds
    if window and is_on:
        found["sliding_window"] = window
    if chunk and (kinds is None or CHUNKED in kinds):
        found["attention_chunk_size"] = chunk
    return found


def layer_types(config: ConfigFile, layers: int, known: tuple[str, ...] = (FULL, SLIDING, CHUNKED)) -> list[str] | None:
    """Return ``layer_types`` if the file has them; raise InputError for entries that are not understood."""
    kinds = config.texts("layer_types")
    if kinds is None:
        return None
    for kind in kinds:
        if kind not in known:
            raise config.fault("layer_types", f"{kind!r} is not understood here; known: {', '.join(known)}")
    if len(kinds) < layers:
        raise config.fault("layer_types", f"{len(kinds)} entries for {layers} layers")
    return kinds[:layers]


def periodic(layers: int, period: int, kind: str) -> list[str]:
    """Return ``kind`` but for every ``period``-th layer, which has full attention."""
    return [FULL if period and (layer + 1) % period == 0 else kind for layer in range(layers)]


def _patterned(config: ConfigFile, pattern: Any, layers: int) -> list[str] | None:
    """Return the layers by ``sliding_window_pattern``: a period, or letters L and G of local and global layers."""
    if pattern is None:
        return None
    if isinstance(pattern, str) and pattern and set(pattern) <= {"L", "G"}:
        return [SLIDING if pattern[layer % len(pattern)] == "L" else FULL for layer in range(layers)]
    if isinstance(pattern, bool) or not isinstance(pattern, int) or pattern < 0:
        raise config.fault(
            "sliding_window_pattern",
            f"must be a period, or a text of L (sliding) and G (full) such as LLLG, not {shown(pattern)}",
        )
    return periodic(layers, pattern, SLIDING) if pattern else None


def decoder_fields(config: ConfigFile, more: Callable[[ConfigFile, Fields], Fields] | None = None) -> Fields:
    """Return the figures of an ordinary decoder; ``more`` adds those of a family, which win."""
    found = sizes(config)
    found |= heads(config, found)
    found |= attention_biases(config)
    found |= dense_network(config)
    found |= windows(config, found["num_hidden_layers"])
    config.flag("mlp_bias")
    return found | (more(config, found) if more is not None else {})
