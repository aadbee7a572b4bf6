"""Raw ``config.json`` files of Hugging Face: their fields in the names and with the defaults of the library."""

from collections.abc import Container
from typing import Any, Final

_HF_RENAMED: Final[dict[str, str]] = {"dtype": "torch_dtype", "num_experts_per_token": "num_experts_per_tok"}
_WINDOWED: Final = ("sliding_attention", "chunked_attention")
"""Attention whose cache is bounded by a window; any other kind counts as full."""


def huggingface_fields(data: dict[str, Any], name: str, known: Container[str]) -> dict[str, Any]:
    """Return the ``known`` fields of a raw ``config.json``: other keys are left aside, missing ones derived."""
    if isinstance(data.get("text_config"), dict):
        data = {**data, **data["text_config"]}
    data = {_HF_RENAMED.get(key, key): value for key, value in data.items()}
    kept = {key: value for key, value in data.items() if key in known and value is not None}
    kept["name"] = name
    if kept.get("model_type") in ("qwen2", "qwen2_moe"):
        kept.setdefault("attention_bias", True)
    if kept.get("model_type") in ("qwen3", "qwen3_moe"):
        kept["use_qk_norm"] = True
    if kept.get("model_type") in ("opt", "gpt_neox", "gpt2", "falcon", "bloom"):
        kept["is_gated_mlp"] = False
    if data.get("use_sliding_window") is False:
        kept.pop("sliding_window", None)
    kept |= _windows(data)
    quantization = data.get("quantization_config")
    if isinstance(quantization, dict) and "weight_dtype" not in kept:
        method = str(quantization.get("quant_method", ""))
        bits = quantization.get("bits")
        kept["weight_dtype"] = {"fp8": "fp8", "mxfp4": "fp4"}.get(method) or {8: "int8", 4: "int4"}.get(bits or 0)
    kept.setdefault("num_key_value_heads", kept.get("num_attention_heads"))
    if "head_dim" not in kept and kept.get("hidden_size") and kept.get("num_attention_heads"):
        kept["head_dim"] = kept["hidden_size"] // kept["num_attention_heads"]
    return kept


def _windows(data: dict[str, Any]) -> dict[str, Any]:
    """Return ``layer_types`` where the file says which layers have a window: by name, or by the period of full ones."""
    kinds = data.get("layer_types")
    layers = int(data.get("num_hidden_layers") or 0)
    if not isinstance(kinds, list):
        period, kind = data.get("sliding_window_pattern"), "sliding_attention"
        if data.get("attention_chunk_size"):
            period, kind = data.get("no_rope_layer_interval") or 4, "chunked_attention"
        if not period:
            return {}
        kinds = [kind if (layer + 1) % period else "full_attention" for layer in range(layers)]
    return {"layer_types": [kind if kind in _WINDOWED else "full_attention" for kind in kinds]}
