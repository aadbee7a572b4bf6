"""Keyed random streams."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cluster_sim.workload.sampling.random_streams import Stream, stable_id


@given(first=st.integers(0, 10_000), count=st.integers(0, 50), cut=st.integers(0, 50))
def test_draws_do_not_depend_on_chunks(first: int, count: int, cut: int) -> None:
    """Any range of draws equals the same range cut in two."""
    stream = Stream(7, "gaps")
    cut = min(cut, count)
    parts = np.concatenate([stream.uniforms(first, cut), stream.uniforms(first + cut, count - cut)])
    assert np.array_equal(stream.uniforms(first, count), parts)


def test_the_numbers_are_pinned() -> None:
    """The draws of a seed are part of the results' reproducibility: a change must be noticed."""
    assert Stream(42, "workload", "0").uniforms(5, 2).tolist() == [0.19436772299049448, 0.07877155851100254]


def test_draws_are_uniform_and_open() -> None:
    """Mean and variance are those of the uniform distribution, and neither end occurs."""
    u = Stream(1, "x").uniforms(0, 200_000)
    assert u.min() > 0
    assert u.max() < 1
    assert abs(u.mean() - 0.5) < 5 / np.sqrt(12 * len(u))
    assert abs(u.var() - 1 / 12) < 0.001


def test_purposes_seeds_and_parts_are_independent() -> None:
    """Streams that differ in anything are uncorrelated and different."""
    streams = [Stream(1, "a"), Stream(2, "a"), Stream(1, "b"), Stream(1, "a").child("b"), Stream(1, "a", "c")]
    draws = np.stack([stream.uniforms(0, 20_000) for stream in streams])
    off_diagonal = np.corrcoef(draws) - np.eye(len(streams))
    assert np.abs(off_diagonal).max() < 0.03
    assert np.array_equal(Stream(1, "a").child("b").uniforms(0, 4), Stream(1, "a", "b").uniforms(0, 4))


def test_generators_are_keyed_by_index() -> None:
    """A generator depends on its index alone."""
    stream = Stream(3, "g")
    again = stream.generator(5).random(3)
    assert np.array_equal(stream.generator(5).random(3), again)
    assert not np.array_equal(stream.generator(6).random(3), again)


def test_stable_ids_fit_and_differ() -> None:
    """Ids are positive, below 2 ** 60, equal for equal names and different for different ones."""
    ids = {stable_id("prefix", name, index) for name in "ab" for index in range(100)}
    assert len(ids) == 200
    assert all(1 << 59 <= one < 1 << 60 for one in ids)
    assert stable_id("prefix", "a", 1) in ids
