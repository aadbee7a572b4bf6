"""Files that someone has changed: results, or one message of wrong input, in bounded time and memory."""

from pathlib import Path

import pytest

from tests.fuzz.cases import play
from tests.fuzz.guarded import Ended, fault_of, run_guarded
from tests.fuzz.subjects import subjects


@pytest.mark.parametrize("count", [25, pytest.param(10_000, marks=pytest.mark.acceptance)])
def test_changed_files_end_with_results_or_one_message(tmp_path: Path, count: int) -> None:
    """Studies, traces, profiles, devices, models, run directories and files of other tools, mutated."""
    (tmp_path / "made").mkdir()
    chosen = subjects(tmp_path / "made")
    outcomes = [play(chosen, count, number, tmp_path / "case") for number in range(count)]
    faults = {number: outcome.fault for number, outcome in enumerate(outcomes) if outcome.fault}
    assert not faults, f"repeat with python -m tests.fuzz --seed {count} --only NUMBER: {faults}"
    assert {outcome.ended.code for outcome in outcomes} >= {0, 2}


def test_bad_ends_are_noticed(tmp_path: Path) -> None:
    """Other codes, tracebacks, silence, a second message and leftovers are faults; results and one message are not."""
    fine = Ended(2, "", "error: a\n", 0.1, 1 << 20)
    assert not fault_of(fine, set(), tmp_path)
    assert not fault_of(fine._replace(code=0, error=""), set(), tmp_path)
    for bad, word in (
        (fine._replace(code=3), "exit code 3"),
        (fine._replace(code=-11), "exit code -11"),
        (fine._replace(code=-24), "more than 10 s"),
        (fine._replace(peak_bytes=3 << 30), "3072 MiB"),
        (fine._replace(error="error: a\nTraceback"), "traceback"),
        (fine._replace(error=""), "no message"),
        (fine._replace(error="error: a\nerror: b\n"), "several"),
        (fine._replace(error="error: " + "a" * 30_000), "characters"),
    ):
        assert word in fault_of(bad, set(), tmp_path)
    (tmp_path / "out.partial").mkdir()
    assert "out.partial" in fault_of(fine, set(), tmp_path)


def test_a_child_is_bounded_and_harmless(tmp_path: Path) -> None:
    """The command runs in a child with its output caught; what it does to itself leaves this process as it was."""
    ended = run_guarded(["--version"], tmp_path)
    assert (ended.code, ended.error) == (0, "")
    assert ended.out.startswith("cluster-sim ")
    assert run_guarded(["validate", "none.yaml"], tmp_path).code == 2
