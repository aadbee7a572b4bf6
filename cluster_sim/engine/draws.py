"""Random draws by key and counter: the same draw whoever asks first, on whatever process.

A stream is named (seed, process, purpose); draw number i of it is the i-th output of SplitMix64 seeded with the
stream's key (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014).
"""

from hashlib import blake2b
from typing import Final

_MASK: Final = (1 << 64) - 1
_GAMMA: Final = 0x9E3779B97F4A7C15


def stream_key(seed: int, process: str, purpose: str) -> int:
    """Return the 64-bit key of a stream."""
    name = f"{seed}\0{process}\0{purpose}".encode()
    return int.from_bytes(blake2b(name, digest_size=8).digest(), "little")


def draw_u64(key: int, counter: int) -> int:
    """Return draw ``counter`` (>= 0) of a stream: uniform over [0, 2^64)."""
    z = (key + (counter + 1) * _GAMMA) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def draw_below(key: int, counter: int, limit: int) -> int:
    """Return draw ``counter`` scaled to 0 .. ``limit`` - 1 (bias below limit / 2^64)."""
    return draw_u64(key, counter) * limit >> 64
