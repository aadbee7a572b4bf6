"""The ``calibrate`` command: wrong options are found before anything is fitted."""

import json
import re
from pathlib import Path

import pytest
import yaml

from tests.cli.command import Command

RUN = "arrival_s,input_tokens,output_tokens,ttft_s,e2e_s\n0,100,10,0.1,0.2\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-o", "own.yaml", "--device", "h1000"], "--device: unknown name 'h1000'; did you mean 'h200'?"),
        (["-o", "own.yaml", "--model", "llama-3-9b"], "unknown model 'llama-3-9b'; did you mean 'llama-3-8b'?"),
        (["-o", "own.yaml", "--engine", "vlm"], "unknown engine 'vlm'; did you mean 'vllm_v1'?"),
        (["-o", "own.txt"], "--out: own.txt must end in .yaml"),
        (["-o", "nowhere/own.yaml"], "--out: nowhere is not a directory"),
        (["-o", "own.yaml", "--engine-version", "x"], "--engine-version: must be numbers separated by dots"),
        (["-o", "own.yaml", "--coefficient", "foo"], "unknown coefficients foo; known: step_us"),
        (["-o", "own.yaml", "--base", "nope"], "unknown name 'nope'"),
    ],
)
def test_wrong_options(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, options: list[str], message: str
) -> None:
    """One message with code 2, and no profile."""
    (tmp_path / "run.csv").write_text(RUN, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    code, _, error = command("calibrate", "run.csv", "--model", "llama-3-8b", "--device", "h100-sxm", *options)
    assert code == 2
    assert error.startswith("error: ")
    assert error.count("error: ") == 1
    assert message in error
    assert "pydantic" not in error
    assert [path.name for path in tmp_path.iterdir()] == ["run.csv"]


def calibrated(command: Command, shared: Path, out: Path, name: str, *options: str) -> tuple[int, str, str]:
    """Run the command on a shared result."""
    file = shared / "cases" / "files" / "bench" / name
    return command("calibrate", file, "--model", "llama-3.1-8b", "-o", out, *options)


def test_a_failed_request_changes_no_coefficient(command: Command, shared: Path, tmp_path: Path) -> None:
    """A result with one failed request more gives the coefficients of the result without it.

    Preempted requests find their blocks again with prefix caching, so the figures depend on it.
    """
    found = []
    for name in ("detailed.json", "detailed-one-failed.json"):
        server = ("--device", "rtx-4090", "--max-num-seqs", "256", "--max-num-batched-tokens", "2048")
        server += ("--no-enable-prefix-caching", "--force")
        code, out, _ = calibrated(command, shared, tmp_path / "c.yaml", name, *server)
        assert code == 0
        found.append(yaml.safe_load((tmp_path / "c.yaml").read_text(encoding="utf-8"))["coefficients"])
    assert found[0] == found[1]
    assert found[0]["gemm_memory_ratio"] == pytest.approx(0.9229, abs=0.0005)
    assert found[0]["kv_memory_ratio"] == pytest.approx(0.9374, abs=0.0005)
    assert "1 of 41 requests did not succeed and is left out" in out


def test_first_tokens_that_are_missed_refuse_a_fit(command: Command, shared: Path, tmp_path: Path) -> None:
    """TTFT is missed by 131 %: refused, nothing written; forced, the band is as wide and the file says so."""
    out = tmp_path / "c.yaml"
    server = ("--device", "rtx-4090", "--max-num-seqs", "256", "--max-num-batched-tokens", "2048")
    code, _, error = calibrated(command, shared, out, "detailed.json", *server)
    assert code == 2
    assert re.search(r"the error of ttft is 1[23]\d\.\d %: more than 30 %", error)
    assert "--coefficient refits others too, of prompts gemm_flops_ratio and attention_flops_ratio" in error
    assert not out.exists()
    code, text, _ = calibrated(command, shared, out, "detailed.json", *server, "--force")
    assert code == 0
    missed = yaml.safe_load(out.read_text(encoding="utf-8"))["missed_percent"]
    assert missed["ttft"] > 100
    assert f"ttft {missed['ttft']:.0f} %" in text.split("band (seen, means): ")[1]


@pytest.mark.parametrize("name", ["other-model.json", "other-model-inf.json"])
def test_a_fit_to_another_model_is_refused(command: Command, shared: Path, tmp_path: Path, name: str) -> None:
    """The message names the coefficient, the error and the model of the file; nothing is written unless told so."""
    out = tmp_path / "c.yaml"
    code, _, error = calibrated(command, shared, out, name, "--device", "l40s")
    assert code == 2
    assert "gemm_memory_ratio ends at 1." in error
    assert "beyond the physical, which is at most 1" in error
    assert re.search(r"the error of tpot is \d{3}\.\d %: more than 30 %", error)
    assert "the file says model_id: example-org/Small-3B-Instruct, and the fit is for llama-3.1-8b" in error
    assert "pydantic" not in error
    assert not out.exists()
    assert calibrated(command, shared, out, name, "--device", "l40s", "--force")[0] == 0
    assert out.exists()


def test_a_model_of_a_config_file(command: Command, shared: Path, tmp_path: Path) -> None:
    """--model takes the path of a raw config.json, whose architecture is then the one that is fitted."""
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
        "max_position_embeddings": 131072,
        "hidden_act": "silu",
        "torch_dtype": "bfloat16",
    }
    folder = tmp_path / "Llama-3.1-8B"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    server = ("--device", "rtx-4090", "--max-num-seqs", "256", "--max-num-batched-tokens", "2048")
    file = shared / "cases" / "files" / "bench" / "detailed.json"
    server += ("--force", "-o", str(tmp_path / "c.yaml"))
    code, out, error = command("calibrate", file, "--model", folder / "config.json", *server)
    assert (code, error) == (0, "")
    assert "model_id" not in out
