"""Numbers of things in messages: the noun and the verb go with the number."""

import pytest

from cluster_sim.shown_values import by_number, counted
from cluster_sim.workload.readers.reader_interface import ReadReport


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 branches are"), (1, "1 branch is"), (2, "2 branches are"), (1200, "1,200 branches are")]
)
def test_nouns_and_verbs(count: int, text: str) -> None:
    """One has the singular; every other number, 0 too, the plural."""
    assert f"{counted(count, 'branch', 'branches')} {by_number(count, 'is', 'are')}" == text


@pytest.mark.parametrize(("count", "text"), [(1, "the only row was skipped (no"), (2, "all 2 rows were skipped (no")])
def test_files_of_which_nothing_is_left(count: int, text: str) -> None:
    """A file of one row that is skipped has no rows of which all were."""
    report = ReadReport()
    report.skipped["no output tokens"] = count
    assert report.all_skipped() == f"{text} output tokens)"
