"""Tests of a replica's notes."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster_sim.recording.replica_log import PENDING_BYTES, ReplicaLog, pending_limit
from cluster_sim.snapshot.externals import Externals
from cluster_sim.snapshot.graph import decode_graph, encode_graph

MS = 1_000_000


def test_steps_fill_vllms_histograms() -> None:
    """A prefill step, a decode step on a bucket's edge and an extra gap land in the buckets vLLM would use."""
    log = ReplicaLog(series_interval_ns=0)
    log.step(30 * MS, gap_ns=0, weight=0, prompt_tokens=60, generated_tokens=1, prefilled_tokens=100)
    log.first_tokens.note(30 * MS, 30 * MS, 100, 40, 0)
    log.step(40 * MS, gap_ns=10 * MS, weight=3, prompt_tokens=0, generated_tokens=3)
    log.gap(11 * MS)
    counters = log.counters()
    assert (counters.iterations, counters.prompt_tokens, counters.generated_tokens) == (2, 60, 4)
    assert counters.itl_counts[:3] == [3, 1, 0]
    assert counters.itl_sum_ns == 41 * MS
    assert counters.iteration_tokens_counts[1] == 1  # 3 tokens: above 1, at most 8
    assert counters.iteration_tokens_counts[5] == 1  # 101 tokens: above 64, at most 128
    assert counters.iteration_tokens_sum == 104


def test_series_puts_tokens_where_iterations_end() -> None:
    """Iterations count in the interval that holds their end, even when noted far ahead of the ticks."""
    log = ReplicaLog(series_interval_ns=100)
    log.step(50, 0, 0, 7, 1)
    ends = np.array([100, 101, 250, 300, 301], np.int64)
    log.decode_run(ends, np.full(5, 50, np.int64), weight=2)
    log.tick(100, running=2, waiting=0, kv_used_blocks=5)
    log.tick(200, running=2, waiting=1, kv_used_blocks=6)
    first = log.take_series()
    assert first["time_ns"].tolist() == [100, 200]
    assert first["kv_used_blocks"].tolist() == [5, 6]
    assert first["iterations"].tolist() == [2, 1]
    assert first["prompt_tokens"].tolist() == [7, 0]
    assert first["generated_tokens"].tolist() == [3, 2]
    log.tick(300, 2, 0, 7)
    log.tick(400, 0, 0, 0)
    log.tick(500, 0, 0, 0)
    second = log.take_series()
    assert second["iterations"].tolist() == [2, 1, 0]
    assert len(log.take_series()["time_ns"]) == 0


def test_area_in_system_counts_time_of_every_request() -> None:
    """The area is the sum of the stays, the ones still there counted up to now."""
    log = ReplicaLog(0)
    log.enter(10)
    log.enter(20)
    log.leave(50)
    assert log.in_system_area_ns(100) == 40 + 80
    assert (log.entered, log.left) == (2, 1)


RUNS = st.lists(
    st.tuples(
        st.integers(1, 9),
        st.lists(st.integers(1, 90), min_size=1, max_size=8),
        st.integers(0, 40),
    ),
    max_size=30,
)


def _play(runs: list[tuple[int, list[int], int]], *, macro: bool, limit: int) -> ReplicaLog:
    log = ReplicaLog(series_interval_ns=70, pending_limit=limit)
    now = 0
    for weight, gaps, prompt in runs:
        ends = now + np.cumsum(np.array(gaps, np.int64))
        now = int(ends[-1])
        if prompt:
            log.step(int(ends[0]), gaps[0], weight, prompt, weight + 1)
        rest = slice(1 if prompt else 0, None)
        if macro:
            log.decode_run(ends[rest], np.array(gaps[rest], np.int64), weight)
        else:
            for end, gap in zip(ends[rest].tolist(), gaps[rest], strict=True):
                log.step(end, gap, weight, 0, weight)
    for tick in range(70, now + 140, 70):
        log.tick(tick, 1, 2, 3)
    return log


@given(RUNS, st.integers(1, 60), st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_macro_steps_change_nothing(runs: list[tuple[int, list[int], int]], first: int, second: int) -> None:
    """Macro-steps and single steps, counted in any portions, give the same counters, gaps and series."""
    macro = _play(runs, macro=True, limit=first)
    single = _play(runs, macro=False, limit=second)
    assert macro.counters() == single.counters()
    assert macro.gaps().quantile(0.9) == single.gaps().quantile(0.9)


@given(RUNS)
@settings(max_examples=40, deadline=None)
def test_series_conserves_tokens(runs: list[tuple[int, list[int], int]]) -> None:
    """Ticks beyond the last iteration give rows that sum to the counters, with macro-steps and without."""
    macro, single = _play(runs, macro=True, limit=7), _play(runs, macro=False, limit=1_000)
    ours, theirs = macro.take_series(), single.take_series()
    for name in ours:
        assert ours[name].tolist() == theirs[name].tolist()
    for name in ("iterations", "prompt_tokens", "generated_tokens"):
        assert ours[name].sum() == getattr(macro, name)


@given(RUNS)
@settings(max_examples=30, deadline=None)
def test_snapshot_restores_everything(runs: list[tuple[int, list[int], int]]) -> None:
    """A log restored from a snapshot continues as the original does."""
    log = _play(runs, macro=True, limit=50)
    log.preemptions, log.busy_ns = 3, [9]
    log.enter(4)
    copy = decode_graph(encode_graph({"log": log}, Externals()), Externals())["log"]
    for either in (log, copy):
        either.step(10**6, 5, 2, 1, 2, 9)
        either.first_tokens.note(10**6, 7, 9, 1, 0)
        either.loaded_hits_tokens += 3
        either.tick(10**6 + 70, 0, 0, 0)
    assert copy.counters() == log.counters()
    ours, theirs = log.take_series(), copy.take_series()
    assert all(ours[name].tolist() == theirs[name].tolist() for name in ours)


def test_pending_notes_are_bounded_over_the_fleet() -> None:
    """A small fleet counts rarely, a large one often enough that all logs together stay within the budget."""
    assert pending_limit(8) == 65_536
    for replicas in (1_024, 100_000, 10**9):
        assert replicas * pending_limit(replicas) * 16 <= max(PENDING_BYTES, replicas * 16)


def test_a_replica_that_nothing_reached_has_no_rows() -> None:
    """Ticks before the first request come with those after it; without a request there are none."""
    idle, late = ReplicaLog(10), ReplicaLog(10)
    for log in (idle, late):
        log.ticks(10, 10, 3, 0, 0, 0)
        assert len(log.take_series()["time_ns"]) == 0
    late.enter(31)
    late.step(38, 0, 0, 5, 1)
    late.ticks(40, 10, 2, 1, 0, 7)
    late.tick(60, 0, 0, 0)
    rows = late.take_series()
    assert rows["time_ns"].tolist() == [10, 20, 30, 40, 50, 60]
    assert rows["running"].tolist() == [0, 0, 0, 1, 1, 0]
    assert rows["kv_used_blocks"].tolist() == [0, 0, 0, 7, 7, 0]
    assert rows["iterations"].tolist() == [0, 0, 0, 1, 0, 0]
    idle.ticks(40, 10, 3, 0, 0, 0)
    assert len(idle.take_series()["time_ns"]) == 0


def test_memory_of_notes_stays_once_it_is_there() -> None:
    """However often notes are counted, a log holds the memory of one full portion: no piece is taken twice."""
    log = ReplicaLog(0, pending_limit=1_000)
    kept = []
    for turn in range(200):
        ends = np.arange(turn * 100, turn * 100 + 99, dtype=np.int64)
        log.decode_run(ends, np.ones(99, np.int64), 3)
        log.step(turn * 100 + 99, 1, 2, 3, 4)
        notes = log._notes
        buffers = (notes.steps, notes._run_ends, notes._run_gaps, notes._runs)
        kept.append(tuple(id(buffer.memory) for buffer in buffers))
    assert len(set(kept[50:])) == 1


@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(1, 9), st.booleans()), min_size=1, max_size=60),
    st.integers(1, 400),
)
@settings(max_examples=60)
def test_counters_do_not_depend_on_when_they_are_asked(parts: list[tuple[int, int, bool]], limit: int) -> None:
    """Runs and single steps give the same counters however often they were asked for before, and however they wait;
    the last iteration is in flight, and the end of the run takes it out.
    """
    asked, quiet = (ReplicaLog(0, pending_limit=size) for size in (limit, 1 << 20))
    now_ns = 0
    for steps, weight, is_run in parts:
        for log in (asked, quiet):
            if is_run:
                ends = np.arange(1, steps + 1, dtype=np.int64) * 7
                log.decode_run(ends, np.full(steps, 7, np.int64), weight, now_ns)
            else:
                log.step(now_ns + steps, 7, weight, steps, weight, 0)
        asked.counters(upto_ns=now_ns)
        now_ns += 7 * steps if is_run else steps
    assert asked.counters(upto_ns=now_ns - 1) == quiet.counters(upto_ns=now_ns - 1)
    assert asked.counters(upto_ns=now_ns - 1).iterations == asked.iterations - 1
    for log in (asked, quiet):
        log.cut(now_ns - 1)
    assert asked.counters() == quiet.counters()


def test_crashes_beyond_the_end_are_not_counted() -> None:
    """Of outages from 10 to 30, 40 to 60 and 70 to 90 ns a run that ends at 50 ns has the first and half of the second;
    one that ends at 70 ns has two.
    """
    for end_ns, crashes, down_ns in ((50, 2, 30), (70, 2, 40), (71, 3, 41), (40, 1, 20), (25, 1, 15), (200, 3, 60)):
        log = ReplicaLog(series_interval_ns=0)
        for outage in ((10, 30), (40, 60), (70, 90)):
            log.note_crash(*outage)
        log.close(end_ns, [0], [0])
        assert (log.crashes, log.down_ns) == (crashes, down_ns), end_ns
