"""The comparison with Vidur's reference runs, on the ones that are quick and differ most from each other."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent.parent / "scripts" / "vidur_parity.py"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the script and return what it printed and its exit code."""
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=SCRIPT.parent.parent)


@pytest.mark.parametrize(
    "names",
    [
        ("cl34_tp2_vllm_trace500_ts1_blocks1024", "cl34_tp2_sarathi512_trace500_ts1_blocks1024"),
        ("cl34_tp2_pp2_vllm_trace500_ts1", "l8_tp1_pp2_sarathi512_trace500_ts0.5"),
        ("cl34_tp2_orca_fixed200_qps2", "cl34_tp2_lightllm_fixed200_qps2_standin"),
        ("cl34_tp2_fastertransformer_fixed200_qps1", "l8_tp1_rep4_lor_sarathi512_trace2000_ts0.25"),
    ],
)
def test_reference_runs_agree(shared: Path, names: tuple[str, ...]) -> None:
    """Every request within 1e-6, equal batches and restarts: eviction, pipelines, logged durations, least waiting."""
    result = run(*(shared / "vidur-ref" / name for name in names))
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("ok  ") == len(names)


def test_a_difference_fails(shared: Path, tmp_path: Path) -> None:
    """A run whose log was made with other settings is told apart and the first batch that differs is shown."""
    reference = shared / "vidur-ref" / "cl34_tp2_vllm_trace500_ts1_blocks1024"
    copy = tmp_path / reference.name
    copy.mkdir()
    for name in ("config.json", "summary.json", "requests.csv.gz", "batches.csv.gz"):
        shutil.copyfile(reference / name, copy / name)
    summary = (copy / "summary.json").read_text(encoding="utf-8")
    (copy / "summary.json").write_text(summary.replace('"num_blocks": 1024', '"num_blocks": 1000'), encoding="utf-8")
    result = run(copy, "--predictor", shared / "vidur-ref" / "predictor", "--compositions")
    assert result.returncode == 1
    assert "FAIL" in result.stdout
    assert "instead of" in result.stdout


def test_wrong_directory_is_one_message(tmp_path: Path) -> None:
    """A folder without runs is exit code 2 and says what was expected."""
    result = run(tmp_path)
    assert result.returncode == 2
    assert "config.json" in result.stderr
    assert "Traceback" not in result.stderr
