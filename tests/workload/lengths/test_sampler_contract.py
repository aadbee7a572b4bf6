"""The contract of every sampler of lengths."""

from pathlib import Path

import numpy as np

from cluster_sim.workload.lengths.length_sampler import LENGTHS, LengthSampler, build_lengths
from cluster_sim.workload.sampling.random_streams import Stream
from tests.parts import every_name, example_options


def sampler(name: str, folder: Path) -> LengthSampler:
    return build_lengths(example_options(LENGTHS, name, folder), Stream(3, "lengths"))  # type: ignore[arg-type]


@every_name(LENGTHS)
def test_lengths_are_whole_and_positive(name: str, tmp_path: Path) -> None:
    """Every index has a prompt and an output of at least one token."""
    for tokens in sampler(name, tmp_path).draw(0, 5_000):
        assert tokens.dtype == np.int64
        assert len(tokens) == 5_000
        assert tokens.min() >= 1


@every_name(LENGTHS)
def test_lengths_are_keyed_by_index(name: str, tmp_path: Path) -> None:
    """The lengths of an index do not depend on the range that they are drawn with, or on earlier draws."""
    drawn = sampler(name, tmp_path)
    whole = drawn.draw(0, 300)
    for tokens, part in zip(whole, drawn.draw(123, 45), strict=True):
        assert np.array_equal(tokens[123:168], part)
    for tokens, again in zip(whole, sampler(name, tmp_path).draw(0, 300), strict=True):
        assert np.array_equal(tokens, again)
