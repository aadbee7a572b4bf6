"""Several searches on one pool: order, runs made once, failures, and what is found again on disk."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster_sim.simulation.task_pool import InlinePool
from cluster_sim.study import search_driver
from cluster_sim.study.replication_store import ReplicationStore
from cluster_sim.study.replications import Replication
from cluster_sim.study.search_driver import Search, run_searches


def replication(number: int) -> Replication:
    return Replication(number, 10, {"ttft_s": np.arange(3.0)}, {"shed": 1}, 2.0, np.ones(10), {"cost_usd": 1.5})


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The runs that are made: a task is the number of a run, negative ones fail."""
    numbers: list[int] = []

    def make(task: int) -> Replication:
        numbers.append(task)
        if task < 0:
            raise ValueError("broken")
        return replication(task)

    monkeypatch.setattr(search_driver, "run_replication", make)
    return numbers


def counting(*steps: list[tuple[int, ...]]) -> Generator[list[Any], list[Replication], list[int]]:
    """Ask for runs step by step; answer with the numbers that came back."""
    seen = []
    for step in steps:
        seen += [result.number for result in (yield step)]
    return seen


def first_of(run: tuple[int, ...]) -> Any:
    """Return the task of a run: in these tests its number."""
    return run[0]


def search(number: int, *steps: list[tuple[int, ...]], store: ReplicationStore | None = None) -> Search:
    return Search(number, counting(*steps), first_of, ReplicationStore() if store is None else store)


def test_answers_come_in_the_order_of_the_searches(made: list[int]) -> None:
    """Runs of the first search go first; a run that is asked for twice is made once; each beginning is told."""
    searches = [search(1, [(10,), (11,)], [(10,), (12,)]), search(0, [(1,)], [(2,), (1,)])]
    begun: list[int] = []
    assert list(run_searches(searches, InlinePool(), begun.append)) == [(0, [1, 2, 1]), (1, [10, 11, 10, 12])]
    assert made == [1, 2, 10, 11, 12]
    assert begun == [0, 1]


def test_a_search_that_fails_does_not_end_the_others(made: list[int]) -> None:
    """The exception of a run is its search's answer; so is that of the search itself."""

    def broken() -> Generator[list[Any], list[Replication], None]:
        yield [(5,)]
        raise RuntimeError("no rate")

    bad = Search(1, broken(), first_of)
    answers = dict(run_searches([search(0, [(-1,), (3,)]), bad, search(2, [(4,)])], InlinePool()))
    assert isinstance(answers[0], ValueError)
    assert isinstance(answers[1], RuntimeError)
    assert answers[2] == [4]
    assert -1 in made


def test_what_was_made_is_found_again(made: list[int], tmp_path: Path) -> None:
    """A stopped search goes on from the runs on disk, whole as they were; a record that was cut off is made anew."""
    path = tmp_path / "0.msgpack"
    assert list(run_searches([search(0, [(1,), (2,)], store=ReplicationStore(path))], InlinePool())) == [(0, [1, 2])]
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    made.clear()
    store = ReplicationStore(path)
    assert len(store) == 1
    assert list(run_searches([search(0, [(1,), (2,), (3,)], store=store)], InlinePool())) == [(0, [1, 2, 3])]
    assert made == [2, 3]
    found = ReplicationStore(path).get((3,))
    assert found is not None
    expected = replication(3)
    assert found.samples["ttft_s"].tolist() == expected.samples["ttft_s"].tolist()
    assert (found.lost, found.figures, found.residences) == (expected.lost, expected.figures, expected.residences)
