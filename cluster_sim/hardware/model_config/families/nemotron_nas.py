"""Llama-Nemotron: a Llama of which a search has dropped attention in some layers and narrowed their networks."""

from typing import Any, Final

from cluster_sim.hardware.model_config.config_file import ConfigFile, shown
from cluster_sim.hardware.model_config.decoder_keys import FULL, Fields, attention_biases, sizes
from cluster_sim.hardware.model_config.family import Family


def read(config: ConfigFile) -> Fields:
    """Return the figures of one file."""
    found = sizes(config)
    layers, hidden = found["num_hidden_layers"], found["hidden_size"]
    blocks = config.value("block_configs")
    if not isinstance(blocks, list) or len(blocks) != layers:
        raise config.fault("block_configs", f"must have attention and ffn of each of {layers} layers")
    count = config.integer("num_attention_heads", least=1)
    config.use("num_key_value_heads", "intermediate_size")
    kinds: list[str] = []
    widths: list[int] = []
    groups: set[int] = set()
    for block in blocks:
        attention, network = _parts(config, block)
        kinds.append("none" if attention.get("no_op") else FULL)
        widths.append(0 if network.get("no_op") else _width(config, network, hidden))
        if not attention.get("no_op"):
            groups.add(_group(config, attention))
    if len(groups) != 1:
        raise config.fault("block_configs", f"layers with different n_heads_in_group are not modelled: {groups}")
    return (
        found
        | attention_biases(config)
        | {
            "num_attention_heads": count,
            "num_key_value_heads": count // groups.pop(),
            "head_dim": hidden // count,
            "layer_types": kinds,
            "intermediate_size": max(widths),
            "intermediate_sizes": widths,
        }
    )


def _parts(config: ConfigFile, block: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return attention and network of a layer; InputError for replacements that are not modelled."""
    parts = [block.get(key) if isinstance(block, dict) else None for key in ("attention", "ffn")]
    for part in parts:
        if not isinstance(part, dict):
            raise config.fault("block_configs", f"every layer needs attention and ffn, not {shown(block)}")
        for key in ("replace_with_linear", "sparsify", "window_length"):
            if part.get(key):
                raise config.fault("block_configs", f"{key} is not modelled")
    attention, network = parts
    assert attention is not None
    assert network is not None
    return attention, network


def _group(config: ConfigFile, attention: dict[str, Any]) -> int:
    """Return the query heads that share a key and value head."""
    size = attention.get("n_heads_in_group")
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise config.fault("block_configs", f"n_heads_in_group must be a whole number, not {shown(size)}")
    return size


def _width(config: ConfigFile, network: dict[str, Any], hidden: int) -> int:
    """Return the width of a layer's network: two thirds of four times the hidden size, by a factor, up to 256s."""
    factor = network.get("ffn_mult")
    if isinstance(factor, bool) or not isinstance(factor, int | float) or factor <= 0:
        raise config.fault("block_configs", f"ffn_mult must be a positive number, not {shown(factor)}")
    return -(-int(2 * factor * hidden / 3) // 256) * 256


FAMILY: Final = Family(read, {"nemotron-nas": {"vocab_size": 128256, "max_position_embeddings": 131072}})
