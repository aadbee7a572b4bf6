"""Tests of rows of live figures, which are made of many logs in one go."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster_sim.metrics.live_figures import FIGURES, figures_row
from cluster_sim.metrics.live_rows import LiveRows
from cluster_sim.recording.live_state import LiveState
from cluster_sim.recording.replica_log import ReplicaLog

PARTS = st.tuples(
    st.integers(0, 2), st.integers(1, 30), st.integers(1, 9), st.sampled_from(("run", "step", "gap", "first", "ask"))
)


@given(st.lists(PARTS, max_size=60), st.integers(1, 200), st.integers(0, 40))
@settings(max_examples=150, deadline=None)
def test_rows_equal_each_logs_counters(parts: list[tuple[int, int, int, str]], limit: int, lag: int) -> None:
    """Whatever three logs note, and whenever they are read, each row has the counters of its log up to that moment."""
    logs = [ReplicaLog(0, pending_limit=limit) for _ in range(3)]
    rows, now_ns = LiveRows(), 0
    for number, steps, weight, kind in [*parts, (0, 1, 1, "ask")]:
        log = logs[number]
        if kind == "run":
            ends = np.cumsum(np.arange(steps, dtype=np.int64) * 2_000_000 + 7)
            log.decode_run(ends, np.diff(ends, prepend=0), weight, now_ns)
            now_ns += int(ends[-1])
        elif kind == "step":
            now_ns += steps
            log.step(now_ns, 9_000_000 * weight, weight, steps, weight + 1, 2 * steps)
        elif kind == "gap":
            log.gap(steps)
        elif kind == "first":
            log.first_tokens.note(now_ns, steps * 1_000_000 - 1_000_000, steps, 1, weight)
            log.preemptions += 1
            log.drafts.add(weight, (weight,))
        else:
            upto_ns = now_ns - lag
            states = {place: LiveState(1, 2, 3, 4, upto_ns, ((), ()), log) for place, log in enumerate(logs)}
            found = rows.collect(states)
            for place, log in enumerate(logs):
                right = figures_row(1, 2, 3, log.counters(upto_ns=upto_ns))
                right[FIGURES["busy_ns"]] = 4
                assert np.frombuffer(found[place][0], np.int64).tolist() == right.tolist()


def test_only_what_is_asked_for_is_read() -> None:
    """Logs may be read in any company; one that nothing has befallen has a row of its own."""
    busy, idle = ReplicaLog(0), ReplicaLog(0)
    rows = LiveRows()
    busy.step(5, 0, 0, 7, 1, 7)
    first = rows.collect({4: LiveState(1, 0, 3, 5, 5, (("de",), ()), busy)})
    assert first[4][1] == (("de",), ())
    both = rows.collect({2: LiveState(0, 0, 0, 0, 9, ((), ()), idle), 4: LiveState(1, 0, 3, 5, 9, ((), ()), busy)})
    assert both[4][0] == first[4][0]
    assert np.frombuffer(both[2][0], np.int64).sum() == 1  # It is there.
    assert rows.collect({}) == {}
