"""Pool of tasks on processes of this machine."""

import os
import signal
from pathlib import Path

import pytest

from cluster_sim.errors import UnfinishedError
from cluster_sim.interruption import INTERRUPTION
from cluster_sim.simulation.process_pool import ProcessPool
from cluster_sim.simulation.task_pool import InlinePool, TaskPool


def double(number: int) -> int:
    if number < 0:
        raise ValueError(f"{number} is negative")
    return 2 * number


def die_once(path: str) -> str:
    """End the process at the first call, as the system does for want of memory."""
    if not Path(path).exists():
        Path(path).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def die(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_tasks_end_with_results_or_exceptions(tmp_path: Path) -> None:
    """Each task has its result or what it raised; one whose process dies is tried again, three times at most."""
    with ProcessPool(1) as pool:
        assert pool.slots == 1
        numbers = {pool.submit(double, value): value for value in (3, -1, 5)}
        results = dict(pool.next_ended() for _ in numbers)
        assert [results[number] for number, value in numbers.items() if value > 0] == [6, 10]
        assert [str(found) for found in results.values() if isinstance(found, ValueError)] == ["-1 is negative"]
        number = pool.submit(die_once, str(tmp_path / "mark"))
        assert pool.next_ended() == (number, "done")
        pool.submit(die, 0)
        _, error = pool.next_ended()
        assert isinstance(error, UnfinishedError)


def test_an_unused_pool_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a task there is no process, whatever ends the pool."""
    monkeypatch.setattr("cluster_sim.simulation.process_pool.ProcessPoolExecutor", None)
    with ProcessPool() as pool:
        assert pool.slots >= 1


@pytest.mark.parametrize("pool", [ProcessPool(1), InlinePool()])
def test_a_lost_interrupt_ends_the_wait(monkeypatch: pytest.MonkeyPatch, pool: TaskPool) -> None:
    """Whoever waits for a task after a signal that a library has caught is interrupted all the same."""
    monkeypatch.setattr(INTERRUPTION, "has_come", True)
    with pytest.raises(KeyboardInterrupt):
        pool.next_ended()
