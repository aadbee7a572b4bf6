"""Tests of the quantile sketch."""

import msgpack
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cluster_sim.recording.sketch import RELATIVE_ERROR, QuantileSketch, bucket_keys, bucket_values

VALUES = arrays(np.int64, st.integers(1, 200), elements=st.integers(0, 10**13))


def test_small_sketch_is_exact() -> None:
    """Below the limit every figure equals numpy's on the same values."""
    values = np.array([5, 1, 9, 9, 100], np.int64)
    sketch = QuantileSketch()
    sketch.add_many(values)
    assert sketch.is_exact
    assert (sketch.count, sketch.total, sketch.minimum, sketch.maximum) == (5, 124, 1, 100)
    assert sketch.quantile(0.5) == 9.0
    assert sketch.quantile(0.9) == np.percentile(values, 90)
    assert sketch.std() == np.std(values)
    assert sketch.fraction_above(9) == 0.2


def test_weights_stand_for_repeated_values() -> None:
    """A value of weight w counts as w values; weight 0 counts as none, also for the minimum."""
    sketch = QuantileSketch()
    sketch.add_many(np.array([1, 10, 20], np.int64), np.array([0, 3, 1], np.int64))
    assert (sketch.count, sketch.minimum, sketch.mean()) == (4, 10, 12.5)
    assert sketch.quantile(0.5) == 10.0


def test_empty_sketch_answers_zero() -> None:
    """An empty sketch has no values and answers 0 instead of failing."""
    sketch = QuantileSketch()
    assert (sketch.quantile(0.5), sketch.mean(), sketch.std(), sketch.fraction_above(1.0)) == (0.0, 0.0, 0.0, 0.0)


@given(VALUES)
@settings(max_examples=50, deadline=None)
def test_bucket_middle_is_within_the_stated_error(values: np.ndarray) -> None:
    """The representative of a value's bucket is within the stated relative error of the value."""
    middles = bucket_values(bucket_keys(values))
    assert (np.abs(middles - values) <= RELATIVE_ERROR * values).all()


def test_large_sketch_keeps_its_error_bound() -> None:
    """Beyond the limit quantiles lie within the stated relative error, while sum, minimum and maximum stay exact."""
    values = np.random.default_rng(1).lognormal(16, 2, 100_000).astype(np.int64)
    sketch = QuantileSketch(exact_limit=1_000)
    for part in np.array_split(values, 37):
        sketch.add_many(part)
    assert not sketch.is_exact
    assert (sketch.total, sketch.minimum, sketch.maximum) == (values.sum(), values.min(), values.max())
    for q in (0.01, 0.5, 0.9, 0.99, 0.999):
        truth = np.percentile(values, q * 100)
        assert abs(sketch.quantile(q) - truth) <= 1.001 * RELATIVE_ERROR * truth
    assert abs(sketch.std() - values.std()) <= 0.01 * values.std()


@given(VALUES, VALUES, st.sampled_from([10, 100, 10_000]))
@settings(max_examples=50, deadline=None)
def test_merge_equals_adding_in_any_order(first: np.ndarray, second: np.ndarray, limit: int) -> None:
    """Merging sketches, adding in one go and adding in reverse give the same answers."""
    merged, other, whole = QuantileSketch(limit), QuantileSketch(limit), QuantileSketch(limit)
    merged.add_many(first)
    other.add_many(second)
    merged.merge(other)
    whole.add_many(np.concatenate([second, first])[::-1])
    assert merged.is_exact == whole.is_exact
    for q in (0.0, 0.3, 0.99, 1.0):
        assert merged.quantile(q) == whole.quantile(q)
    assert (merged.mean(), merged.std(), merged.count) == (whole.mean(), whole.std(), whole.count)


@given(VALUES, st.sampled_from([10, 10_000]))
@settings(max_examples=30, deadline=None)
def test_plain_form_round_trips_through_msgpack(values: np.ndarray, limit: int) -> None:
    """A sketch restored from its plain form answers alike and goes on alike."""
    sketch = QuantileSketch(limit)
    sketch.add_many(values)
    copy = QuantileSketch.from_plain(msgpack.unpackb(msgpack.packb(sketch.to_plain())))
    copy.add_many(values)
    sketch.add_many(values)
    assert (copy.quantile(0.7), copy.std(), copy.total) == (sketch.quantile(0.7), sketch.std(), sketch.total)


@given(st.lists(st.tuples(st.lists(st.integers(0, 10**9), min_size=1, max_size=9), st.integers(1, 50)), min_size=1))
@settings(max_examples=50, deadline=None)
def test_runs_count_like_their_values(runs: list[tuple[list[int], int]]) -> None:
    """Adding runs with one weight each equals adding every value with its run's weight, sketched or exact."""
    values = np.array([value for run, _ in runs for value in run], np.int64)
    lengths = np.array([len(run) for run, _ in runs], np.int64)
    weights = np.array([weight for _, weight in runs], np.int64)
    for limit in (10, 10**9):
        by_run, by_value = QuantileSketch(limit), QuantileSketch(limit)
        for sketch in (by_run, by_value):
            sketch.add_many(np.full(20, 7, np.int64))
        by_run.add_runs(values, lengths, weights)
        by_value.add_many(values, np.repeat(weights, lengths))
        assert by_run.to_plain() == by_value.to_plain()
