"""Files of the library: every fault with file, line and key, and only what the model needs is required."""

from pathlib import Path

import pytest

from cluster_sim.document import Document
from cluster_sim.errors import InputError
from cluster_sim.hardware.device import load_device
from cluster_sim.hardware.library_file import load_mapping
from cluster_sim.hardware.model import load_model
from cluster_sim.hardware.predictors.calibration_file import load_calibration

DEVICE = """architecture: hopper
memory_bytes: 85029027840
memory_bandwidth_bytes_per_s: 3.3520e+12
flops: {bf16: 9.9e+14}
interconnect: {kind: nvlink, bandwidth_bytes_per_s: 4.5e+11, latency_us: 4.3}
tdp_w: 700
price_usd_per_hour: 2.99
"""

MODEL = """{
\t"hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8,
\t"num_hidden_layers": 32, "intermediate_size": 14336,
\t"vocab_size": 128256, "max_position_embeddings": 131072, "name": "mine"
}"""


def message_about(path: Path, text: str) -> str:
    """Return the message about a device or model of this text."""
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        (load_device if path.name.startswith("device") else load_model)(str(path))
    return str(caught.value).replace(f"{path.parent}/", "")


def test_a_device_needs_no_provenance(tmp_path: Path) -> None:
    """A device of figures alone loads, and is called as its file."""
    path = tmp_path / "my-gpu.yaml"
    path.write_text(DEVICE)
    device = load_device(str(path))
    assert (device.name, device.source, device.price_source) == ("my-gpu", "", "")


def test_a_calibration_needs_no_provenance(tmp_path: Path) -> None:
    """A profile of coefficients alone loads, and is called as its file."""
    path = tmp_path / "mine.yaml"
    path.write_text("engine: vllm\ncoefficients: {step_us: 300}\n")
    assert load_calibration(str(path)).name == "mine"
    path.write_text("engine: vllm\ncoeficients: {step_us: 300}\ncoefficients: {step_us: fast}\n")
    with pytest.raises(InputError) as caught:
        load_calibration(str(path))
    assert f"{path}:2: coeficients: unknown key; did you mean 'coefficients'?" in str(caught.value)
    assert f"{path}:3: coefficients.step_us: must be a number" in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "right", "message"),
    [
        ("tdp_w: 700", "tdp_watt: 700", "device.yaml:6: tdp_watt: unknown key; did you mean 'tdp_w'?"),
        (
            "tdp_w: 700",
            "tdp_w: 700\ntdp_w: 600",
            "device.yaml:7: key 'tdp_w' stands here a second time (first on",
        ),
        ("tdp_w: 700", "tdp_w: -7", "device.yaml:6: tdp_w: must be at least 1; got -7"),
        ("tdp_w: 700", 'tdp_w: "700"', "device.yaml:6: tdp_w: must be a number; got '700'"),
        ("tdp_w: 700", "tdp_w: true", "device.yaml:6: tdp_w: must be a number; got true"),
        ("tdp_w: 700", "tdp_w: .inf", "device.yaml:6: tdp_w: must be a finite number; got"),
        (
            "tdp_w: 700",
            "tdp_w: 700\nl2_bytes: 85029027840",
            "device.yaml:7: l2_bytes: 85029027840 is not less than the memory's",
        ),
        ("{bf16: 9.9e+14}", "{bf16: .nan}", "device.yaml:4: flops.bf16: must be a finite number; got"),
        ("{bf16: 9.9e+14}", "{bf16: 990}", "device.yaml:4: flops.bf16: must be from 1e+09 to 1e+19 operations"),
        ("{bf16: 9.9e+14}", "{}", "device.yaml:4: flops: needs at least one dtype"),
        (
            "3.3520e+12",
            "3.3520e+9",
            "device.yaml:3: memory_bandwidth_bytes_per_s: reading all 85,029,027,840 bytes once would take 25.3667 s",
        ),
        ("85029027840", "80", "device.yaml:2: memory_bytes: must be at least 100000000; got 80"),
        ("latency_us: 4.3", "latency: 4.3", "device.yaml:5: interconnect.latency_us: is required"),
        ("bf16", "bf61", "device.yaml:4: flops: unknown dtype 'bf61'; did you mean 'bf16'?; known: fp32,"),
        (DEVICE, "", "device.yaml: is empty"),
        (DEVICE, "- 1", "device.yaml:1: must be a mapping of keys to values, found a list"),
    ],
)
def test_faults_of_a_device(tmp_path: Path, wrong: str, right: str, message: str) -> None:
    """A wrong device file is refused with file, line, key and what would be right."""
    assert message in message_about(tmp_path / "device.yaml", DEVICE.replace(wrong, right))


@pytest.mark.parametrize(
    ("wrong", "right", "message"),
    [
        (
            '"hidden_size": 4096',
            '"hidden_size": 4096, "hiden_act": "silu"',
            "model.json:2: hiden_act: unknown key; did",
        ),
        ('"vocab_size": 128256', '"vocab_size": "many"', "model.json:4: vocab_size: must be a whole number"),
        (
            '"vocab_size"',
            '"hidden_size"',
            "model.json:4: key 'hidden_size' stands here a second time",
        ),
        ("14336,", "14336", "model.json:4: not valid JSON"),
    ],
)
def test_faults_of_a_model_in_json(tmp_path: Path, wrong: str, right: str, message: str) -> None:
    """A model file in JSON, tabs and all, is read, and refused with file, line and key where it is wrong."""
    path = tmp_path / "model.json"
    path.write_text(MODEL)
    assert load_model(str(path)).head_dim == 128
    assert message in message_about(path, MODEL.replace(wrong, right))


@pytest.mark.parametrize(
    ("wrong", "right", "message"),
    [
        (
            '"num_key_value_heads": 8',
            '"num_key_value_heads": 5',
            "num_key_value_heads: 5 does not divide the 32 attention",
        ),
        ('"vocab_size": 128256', '"vocab_size": true', "model.json:4: vocab_size: must be a whole number; got true"),
        (
            '"name"',
            '"num_experts": 4, "num_experts_per_tok": 5, "name"',
            "model.json:4: num_experts_per_tok: 5 of 4 experts",
        ),
        ('"name"', '"num_experts_per_tok": 2, "name"', "num_experts: missing, although the model has experts"),
        ('"name"', '"num_experts": 4, "num_local_experts": 8, "num_experts_per_tok": 2, "name"', "give one"),
        ('"name"', '"first_k_dense_replace": 33, "name"', "first_k_dense_replace: 33 dense layers of 32"),
        (
            '"name"',
            '"published_parameters": 7e9, "name"',
            "published_parameters: 7e+09, but the shapes add up to 8.03e+09",
        ),
    ],
)
def test_shapes_that_no_model_has(tmp_path: Path, wrong: str, right: str, message: str) -> None:
    """Shapes that contradict each other are refused with the key and both figures."""
    assert message in message_about(tmp_path / "model.json", MODEL.replace(wrong, right))


def test_faults_of_a_model_in_yaml(tmp_path: Path) -> None:
    """Words for numbers, unknown dtypes and missing keys are refused with their lines; the name is optional."""
    path = tmp_path / "model.yaml"
    path.write_text(MODEL.replace("\t", " ").replace(', "name": "mine"', ""))
    assert load_model(str(path)).name == "model"
    message = message_about(path, "hidden_size: wide\nnum_attention_heads: 32\ntorch_dtype: float61\n")
    assert "model.yaml:1: hidden_size: must be a whole number" in message
    assert "model.yaml:3: torch_dtype: unknown dtype 'float61'; did you mean 'float16'?; known: float16," in message
    assert "model.yaml: vocab_size: is required" in message


def test_a_file_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three readers of one text cost one parse and get data of their own; another text of the file is parsed anew."""
    parsed = []
    parse = Document.parse
    monkeypatch.setattr(Document, "parse", lambda text, source: parsed.append(text) or parse(text, source))
    path = tmp_path / "a.yaml"
    path.write_text("tdp_w: 1e3\nratios: [0.5]\n")
    first = load_mapping(path)
    assert first == {"tdp_w": 1000.0, "ratios": [0.5]}
    first["ratios"].append(0.25)
    assert load_mapping(path) == load_mapping(path) == {"tdp_w": 1000.0, "ratios": [0.5]}
    assert len(parsed) == 1
    path.write_text("tdp_w: 1e3\nratios: [0.7]\n")
    assert load_mapping(path)["ratios"] == [0.7]
    assert len(parsed) == 2
