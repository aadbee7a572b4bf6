"""The ``init`` and ``validate`` commands."""

import json
from pathlib import Path

import pytest

from cluster_sim.config.loading.load import load_study
from cluster_sim.document import Document
from cluster_sim.study.validation_report import validation_report
from tests.cli.command import Command


def test_init_writes_a_valid_study(command: Command, study_file: Path) -> None:
    """``init`` writes a study that ``validate`` accepts, and never overwrites a file."""
    assert load_study(study_file).name == "my-study"
    assert command("validate", study_file)[0] == 0
    code, _, error = command("init", "-o", study_file)
    assert code == 2
    assert "exists already" in error
    code, _, error = command("init", "-o", study_file.parent / "nowhere" / "study.yaml")
    assert code == 2
    assert "cannot be written" in error


def test_init_prints_without_a_file(command: Command, study_file: Path) -> None:
    """``init`` alone prints what it would write, and writes nothing."""
    code, text, _ = command("init")
    assert (code, text) == (0, study_file.read_text(encoding="utf-8"))


def test_validate_prints_everything(command: Command, study_file: Path) -> None:
    """The report holds every value with pinned defaults filled in, the memory plan and the lookahead; it is a study."""
    code, text, _ = command("validate", study_file, "--set", "seed=7", "-m", "-v")
    assert code == 0
    data = Document.parse(text, "report").data
    assert data["seed"] == 7
    assert data["fleet"]["pools"][0]["engine"]["max_num_batched_tokens"] == 8192
    assert "KV blocks of 16 tokens" in text
    assert "a step takes at least" in text
    assert "the router observes responses" in text
    assert "executor auto would choose inline: coupling factor" in text
    assert "models are valid" in text
    code, text, _ = command("validate", study_file)
    assert "coupling factor" not in text
    assert "Lookahead" not in text


def test_what_decides_stands_at_the_end(command: Command, study_file: Path) -> None:
    """The screen ends with the memory plan (four lines), the notes of the reader, warnings and the verdict."""
    first = {"model": "llama-3-8b", "device": "h100-sxm"}
    pools = [{"name": name, **first} for name in ("main", "other")]
    fleet = json.dumps({"pools": pools, "links": [{"between": "main -> other", "link": "ethernet-25"}]})
    code, text, error = command("validate", study_file, "--set", f"fleet={fleet}")
    assert (code, error) == (0, "")
    *_, title, pool, memory, blocks, _, _, _, warning, verdict = text.splitlines()
    assert title == "# Memory plan of one GPU, and KV cache of one replica:"
    assert pool.startswith("#   main: 1 replica of llama-3-8b on 1 x h100-sxm each")
    assert memory.startswith("#     memory 79.19 GiB, usable 71.27: weights 14.96")
    assert "KV blocks of 16 tokens: " in blocks
    assert warning.startswith("# Warning: fleet.links: 'main -> other' leads one way only")
    assert verdict.startswith("# my-study is valid; configuration hash ")
    assert text.startswith("# Every value of my-study, pinned defaults filled in:\nname: my-study\n")
    noted = validation_report(load_study(study_file), (), ["nobody reads it"]).splitlines()
    assert noted[-2] == "# Note: nobody reads it"
    assert noted[-1].startswith("# my-study is valid; configuration hash ")


def test_validate_judges_the_variants_of_a_sweep(command: Command, study_file: Path) -> None:
    """A sweep is valid if one of its runs is, which the report is about; every invalid run is listed with its error."""
    grid = "sweep={grid: {fleet.pools.0.engine.kind: [orca, sglang]}}"
    engine = "fleet.pools.0.engine={kind: orca, enable_mixed_chunk: true, max_model_len: 4096}"
    code, text, _ = command("validate", study_file, "--set", engine, "--set", grid)
    assert code == 0
    assert Document.parse(text, "report").data["fleet"]["pools"][0]["engine"]["kind"] == "sglang"
    assert "enable_mixed_chunk belongs to sglang; this pool is orca); this is fleet.pools.0.engine.kind=sglang:" in text
    assert "# Sweep: 2 combinations, 1 of them valid\n# fleet.pools.0.engine.kind=orca: " in text
    code, _, error = command("validate", study_file, "--set", engine)
    assert code == 2
    assert "enable_mixed_chunk belongs to sglang; this pool is orca" in error


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("fleet.pools.0.model=llama-3-70b", "llama-3-70b does not fit h100-sxm"),
        ("fleet.pools.0.tensor_parallel=3", "tensor_parallel"),
        ("fleet.pools.0.pipeline_parallel=99", "pipeline_parallel"),
        ("fleet.pools.0.replica=1", "unknown key; did you mean 'replicas'?"),
        ("workload={kind: trace, format: azure, path: none.csv}", "no such file"),
    ],
)
def test_wrong_input_is_one_message_and_code_2(command: Command, study_file: Path, override: str, message: str) -> None:
    """What does not fit, does not divide, is not known or not there ends with code 2 and one message."""
    code, _, error = command("validate", study_file, "--set", override)
    assert code == 2
    assert error.startswith("error: ")
    assert error.count("error: ") == 1
    assert message in error
    assert "Traceback" not in error


def test_keys_that_are_not_understood(command: Command, study_file: Path) -> None:
    """A key of a ``config.json`` that changes cost is refused with file, line and key; with --allow-unknown it is
    passed over, and the line about the model, the summary and the table name it.
    """
    config = {
        "model_type": "llama",
        "hidden_size": 512,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "intermediate_size": 1024,
        "index_topk": 64,
        "rope_theta": 5e5,
    }
    path = study_file.parent / "own" / "config.json"
    path.parent.mkdir()
    path.write_text(json.dumps(config, indent=1), encoding="utf-8")
    chosen = (study_file, "--set", f"fleet.pools.0.model={path}", "--set", "workload.count=5")
    code, _, error = command("validate", *chosen)
    assert code == 2
    assert f"{path}:7: index_topk: not understood for model_type llama" in error
    code, text, _ = command("validate", *chosen, "--allow-unknown")
    assert code == 0
    assert "#   own: 0.04 B parameters, 0.04 B active; weights bf16" in text
    assert "NOT UNDERSTOOD and passed over: index_topk\n#     keys without effect here: rope_theta\n" in text
    out = study_file.parent / "run"
    code, text, _ = command("run", *chosen, "--allow-unknown", "--executor", "inline", "--out", out)
    assert code == 0
    assert "own: index_topk" in text
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert summary["pools"][0]["model_keys_not_understood"] == ["index_topk"]


def test_a_refused_study_shows_its_models(command: Command, study_file: Path) -> None:
    """A study whose engine would not start is refused after the line about its model, which tells the sizes."""
    code, text, error = command("validate", study_file, "--set", "fleet.pools.0.engine.gpu_memory_utilization=0.24")
    assert code == 2
    assert "fleet.pools.0" in error
    assert text.startswith("# Models:\n#   llama-3-8b: 8.03 B parameters")
