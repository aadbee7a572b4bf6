"""Configurations with one thing wrong: understood or refused with the file, never a traceback."""

import copy
import json
from pathlib import Path
from typing import Any, Final

import pytest

from cluster_sim.errors import InputError
from cluster_sim.hardware.model import load_model
from tests.hardware.model_config.test_read import HYBRID, LATENT, LLAMA

WRONG: Final[list[Any]] = ["text", [1, "a"], {"a": 1}, -3, 1.5, 0, True, 10**30]

QUANTIZED: Final = {
    "quant_method": "compressed-tensors",
    "config_groups": {"a": {"targets": ["Linear"], "weights": {"num_bits": 4, "type": "int", "group_size": 128}}},
    "ignore": ["lm_head"],
    "kv_cache_scheme": None,
}


@pytest.mark.parametrize("config", [LLAMA, LATENT, HYBRID, LLAMA | {"quantization_config": QUANTIZED}])
def test_any_key_may_be_wrong(tmp_path: Path, config: dict[str, Any]) -> None:
    """Every key left out and replaced by values of other kinds: a model, or one message that names the file."""
    path = tmp_path / "config.json"
    for key in [*config, *("layer_types", "sliding_window_pattern", "torch_dtype", "moe_layer_freq")]:
        for value in [None, *WRONG]:
            path.write_text(json.dumps(config | {key: value}))
            try:
                assert load_model(str(path)).total_parameters > 0
            except InputError as error:
                assert str(path) in str(error)  # noqa: PT017 - either is right
    for key in config.get("quantization_config", {}):
        for value in WRONG:
            changed = copy.deepcopy(config)
            changed["quantization_config"][key] = value
            path.write_text(json.dumps(changed))
            try:
                load_model(str(path))
            except InputError as error:
                assert str(path) in str(error)  # noqa: PT017 - either is right


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "config.json"),
        ("[]", "mapping"),
        ('{"model_type": "llama"', r"config\.json:1"),
        ('{"model_type": "llama"}\n{"model_type": "llama"}', r"config\.json:2"),
    ],
)
def test_files_that_are_no_configuration(tmp_path: Path, text: str, complaint: str) -> None:
    """Empty, cut off, a list, or two documents: refused with file and line."""
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(InputError, match=complaint):
        load_model(str(path))


def test_folder_instead_of_a_file(tmp_path: Path) -> None:
    """A folder is not taken for a file."""
    folder = tmp_path / "config.json"
    folder.mkdir()
    with pytest.raises(InputError, match=r"config\.json"):
        load_model(str(folder))


def test_model_files_of_the_user_are_strict(tmp_path: Path) -> None:
    """A wrong type, an unknown key or an unknown dtype in a YAML model file is refused with file and key."""
    path = tmp_path / "mine.yaml"
    good = {key: value for key, value in LLAMA.items() if key != "model_type"} | {
        "name": "mine",
        "num_key_value_heads": 4,
    }
    for key, value in (
        ("hidden_size", "wide"),
        ("hiden_size", 64),
        ("torch_dtype", "float7"),
        ("layer_types", ["full_attention"]),
        ("num_experts", 4),
        ("mamba", {"heads": 4}),
        ("precision", {"attention": {"dtype": "fp9", "bits": 8, "arithmetic": "fp8"}}),
    ):
        path.write_text(json.dumps(good | {key: value}))
        with pytest.raises(
            InputError, match=rf"mine\.yaml(:\d+)?: .*{'num_experts_per_tok' if key == 'num_experts' else key}"
        ):
            load_model(str(path))
    path.write_text(json.dumps(good))
    assert load_model(str(path)).head_dim == 16
