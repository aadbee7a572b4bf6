"""The contract of every arrival process."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from cluster_sim.workload.arrivals.arrival_process import ARRIVALS, ArrivalTimes, build_arrivals
from cluster_sim.workload.arrivals.bounded_times import bounded_times
from cluster_sim.workload.sampling.random_streams import Floats, Ints, Stream
from tests.parts import every_name, example_options

COUNT = 6_000


def process(name: str, folder: Path, seed: int = 3) -> ArrivalTimes:
    options = example_options(ARRIVALS, name, folder)
    return build_arrivals(options, Stream(seed, "arrivals"), COUNT)  # type: ignore[arg-type]


def first_times(times: ArrivalTimes, count: int = COUNT) -> Ints:
    return np.concatenate(list(bounded_times(times, count, None)()))


@every_name(ARRIVALS)
def test_blocks_hold_times_that_never_decrease(name: str, tmp_path: Path) -> None:
    """No block is empty, and times are whole ns from 0 on in order, within and across blocks."""
    blocks = list(islice(process(name, tmp_path)(), 3))
    assert all(len(block) and block.dtype == np.int64 for block in blocks)
    times = np.concatenate(blocks)
    assert times[0] >= 0
    assert (np.diff(times) >= 0).all()


@every_name(ARRIVALS)
def test_a_process_starts_over(name: str, tmp_path: Path) -> None:
    """Every start gives the same times, also while another one is under way, and so does a process built again."""
    times = process(name, tmp_path)
    under_way = times()
    next(under_way)
    once = first_times(times)
    assert np.array_equal(once, first_times(times))
    assert np.array_equal(once, first_times(process(name, tmp_path)))


@every_name(ARRIVALS)
def test_a_count_cuts_and_nothing_else(name: str, tmp_path: Path) -> None:
    """The first arrivals are the same however many are asked for."""
    times = process(name, tmp_path)
    assert np.array_equal(first_times(times)[:77], first_times(times, 77))


@every_name(ARRIVALS)
def test_seeds_differ_if_anything_is_drawn(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another seed gives other times, unless the process draws nothing; nothing else makes chance."""
    drawn: list[int] = []
    uniforms = Stream.uniforms

    def counting(stream: Stream, first: int, count: int) -> Floats:
        drawn.append(count)
        return uniforms(stream, first, count)

    monkeypatch.setattr(Stream, "uniforms", counting)
    one, other = (first_times(process(name, tmp_path, seed)) for seed in (3, 4))
    assert np.array_equal(one, other) != bool(drawn)
