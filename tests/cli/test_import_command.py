"""The ``import`` command: the study that it prints or writes, and its refusals."""

from pathlib import Path

import pytest

from tests.cli.command import Command

LINE = "vllm serve Qwen/Qwen3-8B --max-num-seqs 64 --port 80 --max-num-sekwences 4\n"


def test_a_written_study_is_valid(command: Command, tmp_path: Path) -> None:
    """The study goes to the file, the findings to the terminal; validate accepts the file, and it is not replaced."""
    source, study = tmp_path / "serve.sh", tmp_path / "study.yaml"
    source.write_text(LINE, encoding="utf-8")
    code, out, _ = command("import", "vllm-serve", source, "--device", "l40s", "-o", study)
    assert code == 0
    assert f"Ignored, as it has no effect on a study:\n  {source}:1: --port 80\n" in out
    assert "--max-num-sekwences 4: unknown flag; the nearest that is known is --max-num-seqs" in out
    assert command("validate", study)[0] == 0
    code, _, error = command("import", "vllm-serve", source, "--device", "l40s", "-o", study)
    assert (code, error) == (2, f"error: {study}: exists already; name another file with -o\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["vlm-serve", "serve.sh"], "unknown deployment format 'vlm-serve'; did you mean 'vllm-serve'?; known: kserve"),
        (["vllm-serve", "absent"], "absent: no such file"),
        (["vllm-serve", "serve.sh"], "serve.sh:1: nothing names the type of the GPU; give --device"),
        (["vllm-serve", "serve.sh", "--device", "h1000"], "--device: unknown"),
        (["vllm-serve", "serve.sh", "--device", "l40s", "--env", "X"], "--env: must be NAME=VALUE; got 'X'"),
        (["vllm-serve", "serve.sh", "--device", "l40s", "--engine-version", "x"], "--engine-version: must be numbers"),
        (["vllm-serve", "serve.sh", "--device", "l40s", "--model", "nope"], "--model: the model 'nope' is not in"),
    ],
)
def test_refusals(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], message: str
) -> None:
    """One message with code 2, and no study."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "serve.sh").write_text(LINE, encoding="utf-8")
    code, out, error = command("import", *arguments, "-o", "study.yaml")
    assert (code, out) == (2, "")
    assert message in error
    assert not (tmp_path / "study.yaml").exists()
