"""Keyed streams of random numbers: a draw depends on (seed, purpose, counter) and on nothing else.

Design: a stream is Philox 4x64 whose 128-bit key is the BLAKE2b digest of the seed and the purpose; draw number n is
output n of that counter-based generator, so any range of draws can be had in any order and in chunks of any size.
Everything is then sampled by inversion, one uniform number a draw, hence a request's own draws are keyed by its id.
"""

import hashlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BLOCK: Final = 4096
"""Requests are drawn and handed on in blocks of this many."""

_OUTPUTS_PER_COUNTER: Final = 4


class Stream:
    """A random stream for one purpose; ``child`` derives the stream of a part of it."""

    def __init__(self, seed: int, *purpose: str) -> None:
        self._seed = seed
        self._purpose = purpose
        text = "\x00".join((str(seed), *purpose)).encode()
        self._key = int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little")

    def child(self, *purpose: str) -> "Stream":
        """Return the independent stream of a narrower purpose."""
        return Stream(self._seed, *self._purpose, *purpose)

    def uniforms(self, first: int, count: int) -> Floats:
        """Return draws number ``first`` to ``first + count - 1``, uniform on the open interval (0, 1)."""
        counter, skip = divmod(first, _OUTPUTS_PER_COUNTER)
        raw = np.random.Philox(key=self._key, counter=counter).random_raw(skip + count)[skip:]
        result: Floats = ((raw >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
        return result

    def generator(self, index: int) -> np.random.Generator:
        """Return a generator of its own for one index, for draws that inversion does not suit."""
        return np.random.Generator(np.random.Philox(key=self._key, counter=index << 128))

    def uniform(self, counter: int) -> float:
        """Return one draw; for many, ``uniforms`` is much cheaper."""
        return float(self.uniforms(counter, 1)[0])


def stable_id(*parts: str | int) -> int:
    """Return an id of 60 bits with the highest set, from a name: the same in every process and version."""
    digest = hashlib.blake2b("\x00".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") & ((1 << 59) - 1) | (1 << 59)
