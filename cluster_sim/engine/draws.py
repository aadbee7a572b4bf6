"""Random draws by key and counter: the same draw whoever asks first, on whatever process.

A stream is named (seed, process, purpose); draw number i of it is the i-th output of SplitMix64 seeded with the
stream's key.
"""

from hashlib import blake2b

from cluster_sim.splitmix64 import GAMMA, splitmix64


def stream_key(seed: int, process: str, purpose: str) -> int:
    """Return the 64-bit key of a stream."""
    name = f"{seed}\0{process}\0{purpose}".encode()
    return int.from_bytes(blake2b(name, digest_size=8).digest(), "little")


def draw_u64(key: int, counter: int) -> int:
    """Return draw ``counter`` (>= 0) of a stream: uniform over [0, 2^64)."""
    return splitmix64(key + counter * GAMMA)


def draw_below(key: int, counter: int, limit: int) -> int:
    """Return draw ``counter`` scaled to 0 .. ``limit`` - 1 (bias below limit / 2^64)."""
    return draw_u64(key, counter) * limit >> 64
