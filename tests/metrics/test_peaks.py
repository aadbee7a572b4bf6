"""Tests of the peaks of one second."""

import numpy as np

from cluster_sim.metrics.peaks import SecondPeaks
from cluster_sim.recording.rows import FIELD, ROW_FIELDS, RowBlock
from cluster_sim.recording.statuses import STATUSES

S = 1_000_000_000


def block_of(*rows: tuple[str, float, float, float, int]) -> RowBlock:
    """Rows of (status, arrival, first token, finish, tokens)."""
    values = np.zeros((len(rows), len(ROW_FIELDS)), np.int64)
    for row, (status, arrival_s, first_s, finish_s, tokens) in zip(values, rows, strict=True):
        row[FIELD["status"]], row[FIELD["output_tokens"]] = STATUSES.index(status), tokens
        times = {"arrival_ns": arrival_s, "first_token_ns": first_s, "finish_ns": finish_s}
        for name, time_s in times.items():
            row[FIELD[name]] = round(time_s * S)
    return RowBlock(values, ("",), ("",), ("main",))


def test_seconds_count_from_the_first_arrival() -> None:
    """From 0.5 s on: five tokens at 1.0, 1.5 ... 3.0 s lie 1, 2 and 2 in the seconds from 0.5, 1.5 and 2.5 s.

    The second request has three at 1.6, 1.8 and 2.0 s, so that the second from 1.5 s has five.  Both requests touch it.
    """
    block = block_of(("finished", 0.5, 1.0, 3.0, 5), ("finished", 1.5, 1.6, 2.0, 3))
    peaks = SecondPeaks(round(0.5 * S), 3 * S)
    peaks.add(block)
    assert (peaks.max_output_tokens_per_s, peaks.max_concurrent_requests) == (5.0, 2)


def test_only_finished_requests_count() -> None:
    """A cancelled one is not in flight for the benchmark."""
    peaks = SecondPeaks(0, 2 * S)
    peaks.add(block_of(("cancelled", 0, 0.5, 1.0, 100), ("finished", 0, 2.0, 2.0, 1)))
    assert (peaks.max_output_tokens_per_s, peaks.max_concurrent_requests) == (1.0, 1)
    assert SecondPeaks(-1, -1).max_concurrent_requests == 0


def test_counts_equal_a_plain_walk_over_tokens() -> None:
    """Random requests, in two portions: the peaks are those of vLLM's loops."""
    random = np.random.default_rng(4)
    rows = []
    tokens, present = np.zeros(40, np.int64), np.zeros(40, np.int64)
    for _ in range(200):
        arrival, wait, length, count = (*random.uniform(0, (20, 3, 9)), int(random.integers(1, 60)))
        first = round((arrival + wait) * S)
        gap = round(length * S) // max(count - 1, 1)
        times = [first + index * gap for index in range(count)]
        rows.append(("finished", arrival, first / S, times[-1] / S, count))
        for time_ns in times:
            tokens[time_ns // S] += 1
        present[int(arrival) : times[-1] // S + 1] += 1
    peaks = SecondPeaks(0, 39 * S)
    peaks.add(block_of(*rows[:90]))
    peaks.add(block_of(*rows[90:]))
    assert peaks.max_output_tokens_per_s == tokens.max()
    assert peaks.max_concurrent_requests == present.max()
