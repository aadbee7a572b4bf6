"""The ``sweep`` command: the list of a dry run, and refusals."""

from pathlib import Path

from tests.cli.command import Command

BLOCK = "sweep={grid: {fleet.pools.0.replicas: [1, 2], seed: [3, -1]}}"


def test_dry_run_lists_every_run(command: Command, study_file: Path) -> None:
    """A dry run prints one line a run, with the values that vary and the reason of an invalid one, and about how long
    the valid ones take; it runs nothing.
    """
    code, text, error = command("sweep", study_file, "--dry-run", "--set", BLOCK, "--out", study_file.parent / "out")
    assert (code, error) == (0, "")
    *lines, estimate = text.splitlines()
    assert estimate.startswith("2 runs, ")
    assert len(lines) == 4
    assert [line.split("  ", 1)[1].split("  invalid: ")[0] for line in lines] == [
        f"fleet.pools.0.replicas={replicas} seed={seed}" for replicas in (1, 2) for seed in (3, -1)
    ]
    assert ["invalid: " in line and "at least 0" in line for line in lines] == [False, True, False, True]
    assert len({line.split()[0] for line in lines}) == 4
    assert [path.name for path in study_file.parent.iterdir()] == ["study.yaml"]


def test_a_study_without_a_sweep_is_refused(command: Command, study_file: Path) -> None:
    """A study that has no sweep block is wrong input, and the message names the block."""
    code, _, error = command("sweep", study_file)
    assert code == 2
    assert error.startswith("error: ")
    assert "sweep" in error
