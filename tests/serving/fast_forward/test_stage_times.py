"""Times of batches that take turns in a pipeline, against the recurrence."""

from random import Random

import numpy as np
import pytest

from cluster_sim.engine.instant import NEVER
from cluster_sim.serving.fast_forward.stage_times import StageTimes

Times = list[list[int]]


def costs_of(steps: int, stages: int, seed: int, noise: int) -> list[list[int]]:
    """Return rows of slowly growing steps and of ways, with ``noise`` ns of noise at most."""
    random = Random(seed)
    batches = random.randint(1, 5)
    bases = [[random.randint(20, 60) for _ in range(stages)] for _ in range(batches)]
    growths = [random.choice((0, 0, 1, 3)) for _ in range(batches)]
    way = random.choice((0, 0, 1, 15))
    rows = []
    for batch in range(steps):
        row = []
        for stage in range(stages):
            step = bases[batch % batches][stage] + growths[batch % batches] * batch // 20 + random.randint(0, noise)
            row += [step, way if stage + 1 < stages else 0]
        rows.append(row)
    return rows


def recurrence(heads: list[int], costs: list[list[int]], free: list[int]) -> tuple[list[int], Times]:
    """Return when batches are scheduled and leave each stage, computed one by one."""
    scheduled, ends = list(heads), []
    for batch, row in enumerate(costs):
        at, left = scheduled[batch], []
        for stage, free_at in enumerate(free):
            left.append(max(at, free_at) + row[2 * stage])
            at = left[-1] + row[2 * stage + 1]
        free = left
        ends.append(left)
        scheduled.append(left[-1])
    return scheduled, ends


@pytest.mark.parametrize("noise", [0, 9])
def test_equals_the_recurrence(noise: int) -> None:
    """Steps, ways, heads and stages of all kinds give the times of batches computed one by one, whatever is asked."""
    for seed in range(300):
        random = Random(seed)
        stages, turn, steps = random.randint(2, 5), random.randint(1, 6), random.randint(1, 400)
        costs = costs_of(steps, stages, seed, noise)
        heads = sorted(random.randint(0, 300) for _ in range(turn))
        free = sorted(random.randint(0, 300) for _ in range(stages))
        scheduled, ends = recurrence(heads, costs, free)
        times = StageTimes(heads, np.array(costs, np.int64), free)
        asked = scheduled[random.randrange(steps)]
        times.plan(asked)
        assert times.planned == steps or scheduled[times.planned] > asked
        assert times.scheduled_ns[: times.planned + turn].tolist() == scheduled[: times.planned + turn]
        times.plan(NEVER)
        assert times.planned == steps
        assert times.scheduled_ns.tolist() == scheduled
        assert times.ends_ns.tolist() == ends


class CountedTimes(StageTimes):
    """Counts the batches computed one by one."""

    single = 0

    def _plan_singly(self, batches: int) -> list[bool]:
        self.single += batches
        return super()._plan_singly(batches)


def test_batches_that_wait_alike_are_computed_together() -> None:
    """A batch of 10 ns and one of 5 ns on two stages, no way between them: of 10,000 batches four are computed singly.

    The long batch comes back every 20 ns, and the short one waits for it behind each stage.
    """
    costs = [[10, 0, 10, 0], [5, 0, 5, 0]] * 5000
    times = CountedTimes([0, 0], np.array(costs, np.int64), [0, 0])
    times.plan(0)
    assert (times.single, times.planned) == (4, 10_000)
    assert times.ends_ns[-2:].tolist() == [[99_990, 100_000], [99_995, 100_005]]
    assert times.scheduled_ns[-2:].tolist() == [100_000, 100_005]


def test_a_batch_alone_waits_for_nobody() -> None:
    """A batch of 10 ns on each of two stages, 5 ns apart, comes back every 25 ns, whatever the noise; only its first
    turn waits, 3 ns before the first stage, and only that one is computed singly.
    """
    costs = [[10, 5, 10, 0]] * 3 + [[10, 5, 40, 0]] + [[10, 5, 10, 0]] * 996
    times = CountedTimes([7], np.array(costs, np.int64), [10, 10])
    times.plan(7)
    assert (times.single, times.planned) == (1, 1000)
    assert times.ends_ns[:5].tolist() == [[20, 35], [45, 60], [70, 85], [95, 140], [150, 165]]
    assert times.scheduled_ns[-1] == 10 + 1000 * 25 + 30


def test_noise_is_computed_batch_by_batch() -> None:
    """Where choices change from turn to turn, vectors are tried a few times in 2,000 turns, ever more rarely."""
    random = Random(1)
    costs = [[random.randint(1, 100), 0, random.randint(1, 100), 0] for _ in range(4000)]
    times = CountedTimes([0, 0], np.array(costs, np.int64), [0, 0])
    times.plan(NEVER)
    assert times._single_turns in (8 * 8 * 8 * 2, 8 * 8 * 8 * 8 * 2)
    assert times.single > 3900
