"""A replica that gets nowhere says so."""

import pytest

from cluster_sim.errors import UnfinishedError
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.schedulers.data_parallel import build_scheduler
from cluster_sim.serving.schedulers.engine_options import engine_options
from cluster_sim.serving.sequence import Sequence
from cluster_sim.serving.stall_detector import ATTEMPT_LIMIT, StallDetector
from cluster_sim.workload.request import Request

LIMITS = SchedulerLimits(64, 16, 8, 512, 1024, 1, 1, False, False)


def test_a_replica_without_work_never_stalls() -> None:
    """Nothing waits or runs: however long ago the last token came, the clock starts anew."""
    progress = StallDetector(0, 64, stall_limit_ns=10)
    progress.attempts_without_batch = ATTEMPT_LIMIT + 1
    progress.check(1000, build_scheduler(engine_options(), LIMITS), list)
    assert (progress.since_ns, progress.attempts_without_batch) == (1000, 0)


@pytest.mark.parametrize(("now_ns", "attempts_without_batch"), [(11, 0), (10, ATTEMPT_LIMIT + 1)])
def test_a_stalled_replica_names_who_waits(now_ns: int, attempts_without_batch: int) -> None:
    """One ns beyond the limit, or one formation: the message holds the figures and the first waiting requests."""
    scheduler = build_scheduler(engine_options(), LIMITS)
    scheduler.add(Sequence(Request(7, 0, 5, 5), 0, 0))
    progress = StallDetector(3, 64, stall_limit_ns=10)
    progress.check(10, scheduler, lambda: [7])
    progress.attempts_without_batch = attempts_without_batch
    with pytest.raises(UnfinishedError, match=r"replica 3 .* 1 waits .* \(0 of 64 in use\); first of them: \[7\]"):
        progress.check(now_ns, scheduler, lambda: [7])
