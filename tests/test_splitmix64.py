"""SplitMix64 against its published outputs, and arrays against integers."""

import numpy as np

from cluster_sim.splitmix64 import GAMMA, MASK, splitmix64, splitmix64_array


def test_published_outputs() -> None:
    """The first outputs of the reference generator (Vigna's splitmix64.c) seeded with 1234567."""
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert [splitmix64(1234567 + index * GAMMA) for index in range(4)] == expected


def test_only_the_lowest_64_bits_count() -> None:
    """A state beyond 64 bits, or a negative one, is the state modulo 2^64."""
    assert splitmix64(-1) == splitmix64(MASK) == splitmix64(MASK + (1 << 64))


def test_arrays_equal_integers() -> None:
    """Every element of an array gives what the integer gives, at both ends of the range too."""
    states = [0, 1, 1234567, 1 << 63, MASK - 1, MASK]
    assert splitmix64_array(np.array(states, np.uint64)).tolist() == [splitmix64(state) for state in states]
