"""Quantised checkpoints: bits of every part with scales, by method, with the modules that are not converted."""

import json
from pathlib import Path
from typing import Any

import pytest

from cluster_sim.errors import InputError
from cluster_sim.hardware.memory_plan import plan_memory
from cluster_sim.hardware.model import Model, load_model
from cluster_sim.units import GIB
from tests.hardware.model_config.test_read import HYBRID, LATENT, LLAMA, loaded, written
from tests.hardware.replicas import hardware

FOUR_BITS = {"num_bits": 4, "type": "int", "group_size": 128, "strategy": "group", "symmetric": True}
NVFP4 = {"num_bits": 4, "type": "float", "group_size": 16}


def parts(model: Model) -> dict[str, tuple[str, float, str]]:
    """Return type, bits and arithmetic of every part that is converted."""
    return {part: (each.dtype, each.bits, each.arithmetic) for part, each in model.precision.items()}


@pytest.mark.parametrize(
    ("block", "dtype", "bits", "arithmetic"),
    [
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8", 8 + 32 / 16384, "fp8"),
        ({"quant_method": "fp8"}, "fp8", 8, "fp8"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128, "sym": True}, "int4", 4 + 20 / 128, "bf16"),
        ({"quant_method": "awq", "bits": 4, "group_size": 64, "zero_point": True}, "int4", 4 + 20 / 64, "bf16"),
        ({"quant_method": "awq", "bits": 4, "group_size": 64, "zero_point": False}, "int4", 4 + 16 / 64, "bf16"),
        ({"quant_method": "gptq", "bits": 8, "group_size": -1}, "int8", 8, "bf16"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "int4", 4.5, "bf16"),
        (
            {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_use_double_quant": True},
            "int4",
            4 + 8 / 64 + 32 / (64 * 256),
            "bf16",
        ),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "int8", 8, "int8"),
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, "fp8", 8, "fp8"),
        ({"quant_algo": "NVFP4", "group_size": 16}, "fp4", 4.5, "fp4"),
        ({"quant_method": "modelopt", "quant_algo": "W4A16_NVFP4"}, "fp4", 4.5, "bf16"),
        ({"quant_method": "modelopt", "quant_algo": "MXFP8"}, "fp8", 8.25, "fp8"),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"a": {"targets": ["Linear"], "weights": FOUR_BITS}},
            },
            "int4",
            4 + 16 / 128,
            "bf16",
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"a": {"targets": ["Linear"], "weights": NVFP4, "input_activations": {"num_bits": 4}}},
            },
            "fp4",
            4.5,
            "fp4",
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {
                    "a": {
                        "targets": ["Linear"],
                        "weights": {"num_bits": 8, "type": "float", "strategy": "channel"},
                        "input_activations": {"num_bits": 8, "type": "float"},
                    }
                },
            },
            "fp8",
            8,
            "fp8",
        ),
    ],
)
def test_bits_of_a_method(tmp_path: Path, block: dict[str, Any], dtype: str, bits: float, arithmetic: str) -> None:
    """Projections have the method's bits, scales included; embedding and head keep 16."""
    model = loaded(tmp_path, LLAMA | {"quantization_config": block, "torch_dtype": "bfloat16"})
    assert parts(model) == {part: (dtype, pytest.approx(bits), arithmetic) for part in ("attention", "mlp")}


def test_modules_that_are_not_converted(tmp_path: Path) -> None:
    """Names, parts of names, wildcards and expressions: a part's bits are the mean over its matrices."""
    plain = 64 * 64
    cases: list[tuple[list[str], float]] = [
        (["model.layers.0.self_attn"], (5 * 8 + 16) / 6),
        (["model.layers.0.self_attn*", "model.layers.1.*"], (4 * 8 + 2 * 16) / 6),
        (["re:.*q_proj.*"], (3 * 8 + 16) / 4),
        (["*.o_proj", "k_proj"], (2 * 8 + 2 * 16) / 4),
        (["gate", "lm_head"], 8),
    ]
    assert plain == 4096
    for names, bits in cases:
        block = {"quant_method": "fp8", "modules_to_not_convert": names}
        model = loaded(tmp_path, LLAMA | {"quantization_config": block})
        assert model.precision["attention"].bits == pytest.approx(bits), names


def test_experts_alone(tmp_path: Path) -> None:
    """Kimi-K2.5's list leaves attention, shared experts and dense layers alone; MXFP4 concerns experts only."""
    names = ["lm_head", "re:.*self_attn.*", "re:.*shared_experts.*", r"re:.*mlp\.(gate|up|gate_up|down)_proj.*"]
    block = {
        "quant_method": "compressed-tensors",
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": FOUR_BITS | {"group_size": 32}}},
        "ignore": names,
    }
    model = loaded(tmp_path, LATENT | {"n_shared_experts": 1, "quantization_config": block})
    assert parts(model) == {"experts": ("int4", 4.5, "bf16")}
    shape = {"model_type": "gpt_oss", "num_local_experts": 4, "num_key_value_heads": 2}
    gpt = LLAMA | shape | {"quantization_config": {"quant_method": "mxfp4"}}
    assert parts(loaded(tmp_path, gpt)) == {"experts": ("fp4", 4.25, "fp4")}


def test_mixed_precision_names_every_module(tmp_path: Path) -> None:
    """What is named has its algorithm, the head too; the rest is not converted."""
    layers: dict[str, dict[str, Any]] = {"lm_head": {"quant_algo": "NVFP4"}}
    for layer in range(6):
        layers[f"model.language_model.layers.{layer}.linear_attn.out_proj"] = {"quant_algo": "FP8"}
        layers[f"model.language_model.layers.{layer}.mlp.experts"] = {"quant_algo": "W4A16_NVFP4", "group_size": 16}
    block = {"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION", "quantized_layers": layers}
    found = loaded(tmp_path, HYBRID | {"quantization_config": block}).precision
    out, whole = 32 * 64, 64 * (2 * 16 + 2 * 32 + 2 * 4) + 32 * 64
    assert found["linear"].bits == pytest.approx((8 * out + 16 * (whole - out)) / whole)
    assert (found["experts"].bits, found["head"].bits) == (4.5, 4.5)
    assert set(found) == {"linear", "experts", "head"}


def test_file_beside_the_configuration(tmp_path: Path) -> None:
    """``hf_quant_config.json`` counts where the configuration has no quantisation; its cache is fp8 as well."""
    path = written(tmp_path, LLAMA)
    block = {"quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8", "group_size": 16, "exclude_modules": ["lm_head"]}
    beside = path.with_name("hf_quant_config.json")
    beside.write_text(json.dumps({"producer": {}, "quantization": block}))
    model = load_model(str(path))
    assert model.precision["mlp"].bits == 4.5
    assert model.kv_cache_dtype == "fp8"
    beside.write_text(json.dumps({"quantization": block | {"quant_algo": "Q5"}}, indent=1))
    with pytest.raises(InputError, match=r"hf_quant_config\.json:\d+: quant_algo: 'Q5' is not understood"):
        load_model(str(path))


def test_weights_of_a_four_bit_checkpoint(shared: Path) -> None:
    """Qwen3-8B with 4-bit groups of 128: 3.34 GiB of projections, 2.32 GiB of embedding and head."""
    model = load_model(str(shared / "cases/files/models/w4a16-compressed-tensors/config.json"))
    plan = plan_memory(hardware(model, "h100-sxm"))
    assert plan.weights_bytes / GIB == pytest.approx(5.65, abs=0.01)


@pytest.mark.parametrize(
    ("block", "complaint"),
    [
        ({"quant_method": "gptq", "bits": "4"}, r"config\.json:\d+: bits: must be a whole number, not '4'"),
        ({"quant_method": "gptq", "bits": 5}, "bits: weights of 5 bits are not understood"),
        ({"quant_method": "awq"}, "bits: missing"),
        ({"quant_method": "fp8", "weight_block_size": "x"}, "weight_block_size: must be two whole numbers"),
        ({"quant_method": "fp8", "modules_to_not_convert": "lm_head"}, "modules_to_not_convert: must be a list"),
        ({"quant_method": "compressed-tensors"}, "config_groups: missing"),
        (
            {"quant_method": "compressed-tensors", "config_groups": {"a": {"targets": 3, "weights": {"num_bits": 4}}}},
            "config_groups: the targets of a group must be a list of names",
        ),
        ({"quant_algo": "MIXED_PRECISION"}, "quantized_layers: missing"),
        ({"quant_algo": "FP8", "kv_cache_quant_algo": "INT3"}, "kv_cache_quant_algo: a KV cache in 'INT3'"),
        ({"quant_method": "bitsandbytes"}, "load_in_4bit"),
    ],
)
def test_faulty_quantisations(tmp_path: Path, block: dict[str, Any], complaint: str) -> None:
    """Wrong and unknown values are refused by the key."""
    with pytest.raises(InputError, match=complaint):
        loaded(tmp_path, LLAMA | {"quantization_config": block})
