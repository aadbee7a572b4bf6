"""The ``calibrate`` command with the log of a running server."""

import re
from pathlib import Path

import pytest
import yaml

from cluster_sim.hardware.device import load_device
from cluster_sim.hardware.predictors.calibration_file import load_calibration
from tests.calibration.logs import CACHE_TOKENS, CONTEXT, table, vllm_log, written
from tests.cli.command import Command


def calibrated(command: Command, path: Path, *options: str) -> tuple[int, str, str]:
    """Run the command on a log of one H100."""
    server = ("--model", "llama-3.1-8b", "--device", "h100-sxm")
    return command("calibrate", path, *server, "-o", path.parent / "own.yaml", *options)


def test_a_log_gives_the_coefficients_back(command: Command, tmp_path: Path) -> None:
    """Weights read 15 % slower than in the profile are found within 3 %, and the loads' residuals are said."""
    shipped = load_calibration("vllm").resolve(load_device("h100-sxm"), "0.15").gemm_memory_ratio
    vllm = table([2, 5, 10, 20, 40, 80, 120], gemm_memory_ratio=0.85 * shipped)
    path = written(tmp_path, vllm)
    blocks = CACHE_TOKENS // 16
    code, out, _ = calibrated(command, path, "--num-kv-blocks", str(blocks))
    assert code == 0
    found = yaml.safe_load((tmp_path / "own.yaml").read_text(encoding="utf-8"))
    assert found["coefficients"]["gemm_memory_ratio"] == pytest.approx(0.85 * shipped, rel=0.03)
    assert found["provenance"]["cross_validation"]["step"] < 3
    assert len(re.findall(r"^running \d+ to \d+ \(\d+ intervals\): step .* ms, simulated", out, re.MULTILINE)) == 8
    assert "error (each load left out): step" in out
    assert "band (seen, means): e2e" in out
    assert "6 of 69 intervals in which requests came or went too fast are left out" in out


def test_one_load_and_no_usage_are_said(command: Command, tmp_path: Path) -> None:
    """Without the cache's usage the mean context is fitted or given; with one load nothing can be told apart."""
    rows = table([20, 21, 20]).splitlines()
    path = written(tmp_path, "\n".join(row.rpartition(",")[0] for row in rows))
    code, out, _ = calibrated(command, path)
    assert code == 0
    assert "mean context: " in out
    assert "one load was logged, 20 to 21 requests running" in out
    code, out, _ = calibrated(command, path, "--context-tokens", str(CONTEXT))
    assert code == 0
    assert "mean context" not in out
    assert "kv_memory_ratio: " in out


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\n12,", "\n2,", ":13: the time goes back from 11 to 2 s: two servers' lines, or clocks that disagree?"),
        ("\n12,0,", "\n12,x,", ":13: prompt_throughput: must be a number of at least 0; got 'x'"),
        ("gen_throughput", "throughput", "not valid"),
        (",0,7.5", ",0,750", "the KV cache's usage is 750 %: it must be at most 100"),
        ("prompt_throughput,", "", ":1: columns missing: prompt_throughput"),
    ],
)
def test_wrong_tables(command: Command, tmp_path: Path, old: str, new: str, message: str) -> None:
    """One message with the line; nothing is written."""
    text = table([10, 20, 30])
    assert old in text
    path = written(tmp_path, text.replace(old, new))
    code, _, error = calibrated(command, path)
    assert code == 2
    if message != "not valid":
        assert message in error
    assert not (tmp_path / "own.yaml").exists()


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (table([10]), (), "9 usable intervals are too few to calibrate from; give a log with at least 20"),
        (re.sub(r"^(\d+,0,)[\d.]+", r"\g<1>0.001", table([10, 20, 30]), flags=re.MULTILINE), (), "make a step of "),
        (table([1, 2, 60, 150], layer_us=2000.0), (), "the error of step is "),
        (
            table([10, 20, 30]),
            ("--coefficient", "frontend_us"),
            "frontend_us: a log of throughput says nothing of first",
        ),
        (vllm_log([10]).replace("INFO 11-30 16", "INFO 16"), (), ":3: the line has no time"),
        (
            vllm_log([10]).replace("Running: 10", "Running: ten"),
            (),
            ":3: not a line of vLLM's throughput that is known",
        ),
    ],
)
def test_logs_that_calibrate_nothing(
    command: Command, tmp_path: Path, text: str, options: tuple[str, ...], message: str
) -> None:
    """Too few lines, another server than the one named, what a log does not hold: refused with the reason."""
    code, _, error = calibrated(command, written(tmp_path, text), *options)
    assert code == 2
    assert message in error
    assert not (tmp_path / "own.yaml").exists()
