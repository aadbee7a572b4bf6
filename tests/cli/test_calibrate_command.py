"""The ``calibrate`` command: wrong options are found before anything is fitted."""

from pathlib import Path

import pytest

from tests.cli.command import Command

RUN = "arrival_s,input_tokens,output_tokens,ttft_s,e2e_s\n0,100,10,0.1,0.2\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
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
