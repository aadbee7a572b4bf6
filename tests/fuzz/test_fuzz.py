"""Files that someone has changed: results, or one message of wrong input, in bounded time and memory."""

from pathlib import Path

import pytest

from tests.fuzz.cases import Case, Cases, preload, write_files
from tests.fuzz.guarded import Ended, fault_of, run_guarded
from tests.fuzz.subject import Subject
from tests.fuzz.subjects import subjects


@pytest.mark.parametrize("count", [30, pytest.param(10_000, marks=pytest.mark.acceptance)])
def test_changed_files_end_with_results_or_one_message(tmp_path: Path, count: int) -> None:
    """Studies, traces, profiles, devices, models, directories of all commands and files of other tools, mutated.

    One case in fifty goes through the command; those that reach new lines are mutated further.
    """
    preload()
    (tmp_path / "made").mkdir()
    cases = Cases(subjects(tmp_path / "made"), count)
    outcomes = [cases.play_next(tmp_path / "case", is_command=number % 50 == 0) for number in range(count)]
    faults = {str(outcome.case): outcome.fault for outcome in outcomes if outcome.fault}
    assert not faults, f"repeat with python -m tests.fuzz --only CASE: {faults}"
    assert {outcome.ended.code for outcome in outcomes} >= {0, 2}
    assert cases.leading > 5
    assert len(cases.known) > 1_000


def test_a_case_is_repeated_by_its_seeds(tmp_path: Path) -> None:
    """A subject and the seeds of its mutations give the same files again; each seed changes them further."""
    chosen = Subject("study", {"study.yaml": b"name: a\nseed: 3\n"}, ("study.yaml",), ("validate", "study.yaml"))
    contents = []
    for text in ("0:5", "0:5", "0:5,6"):
        write_files(chosen, Case.parse(text), tmp_path / "case")
        contents.append((tmp_path / "case" / "study.yaml").read_bytes())
        assert str(Case.parse(text)) == text
    assert contents[0] == contents[1] != contents[2]


def test_lines_that_were_not_known_are_told(tmp_path: Path) -> None:
    """A child tells the lines of the package that it reached, without those that are known."""
    first = run_guarded(["validate", "none.yaml"], tmp_path, known=set())
    assert len(first.lines) > 20
    assert all(file.endswith(".py") and number > 0 for file, number in first.lines)
    again = run_guarded(["validate", "none.yaml"], tmp_path, known=set(first.lines))
    assert (again.code, again.lines) == (2, frozenset())


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
    for is_command in (False, True):
        wrong = run_guarded(["validate", "none.yaml"], tmp_path, is_command=is_command)
        assert (wrong.code, wrong.error) == (2, "error: none.yaml: no such file\n")
