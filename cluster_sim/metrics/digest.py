"""Digest of a run: one hash of all its rows, by which runs that must be equal are compared.

The digest is the sum modulo 2**256 of the SHA-256 of every row, so it does not depend on the order of the rows and is
computed while they stream.  A row's canonical encoding is its columns ``DIGEST_COLUMNS`` in order, each a signed
64-bit little-endian integer: times in ns, -1 for null; a word (tenant, model, pool, status) is the first
eight bytes of the SHA-256 of its UTF-8 text, the pool of a request that reached none being the empty word.  The row of
a request that did not finish and for which tokens were generated goes on with ``generated_tokens``, which other rows
imply.  After that come, for each of ``FLEET_FIELDS`` that is not null and each request that failed or was shed, pairs
of a word and a value: the field and its integer, except 1 attempt, which the dispatch implies; "reason" and the
reason's word.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

import numpy as np
import numpy.typing as npt

from cluster_sim.recording.reasons import REASONS
from cluster_sim.recording.rows import FIELD, FLEET_FIELDS, ROW_FIELDS, RowBlock
from cluster_sim.recording.statuses import FAILED, FINISHED, SHED, STATUSES

Int64Array = npt.NDArray[np.int64]

DIGEST_COLUMNS: Final = ROW_FIELDS[: ROW_FIELDS.index("generated_tokens")]
"""The columns of every row, in the order in which they are hashed."""

_FINISHED_CODE: Final = STATUSES.index(FINISHED)
_REASONED_CODES: Final = (STATUSES.index(FAILED), STATUSES.index(SHED))
_MODULUS: Final = 1 << 256
_LITTLE_ENDIAN: Final = np.dtype("<i8")


def word_code(word: str) -> int:
    """Return the canonical 64-bit integer of a word."""
    return int.from_bytes(sha256(word.encode()).digest()[:8], "little", signed=True)


def canonical_rows(block: RowBlock) -> Int64Array:
    """Return the block's rows as little-endian int64[n, len(DIGEST_COLUMNS)] with words replaced by their codes."""
    rows: Int64Array = block.rows[:, : len(DIGEST_COLUMNS)].astype(_LITTLE_ENDIAN)
    vocabularies: tuple[tuple[str, Sequence[str]], ...] = (
        ("tenant", block.tenants),
        ("model", block.models),
        ("pool", block.pools),
        ("status", STATUSES),
    )
    for name, words in vocabularies:
        # The last entry answers index -1.
        codes = np.array([*(word_code(word) for word in words), word_code("")], np.int64)
        column = FIELD[name]
        rows[:, column] = codes[rows[:, column]]
    return rows


def _packed_word(word: str) -> bytes:
    return word_code(word).to_bytes(8, "little", signed=True)


_FLEET_CODES: Final = {name: _packed_word(name) for name in FLEET_FIELDS}


class RowDigest:
    """Accumulates the digest over blocks of rows; ``value`` is its whole state."""

    def __init__(self, value: int = 0) -> None:
        self.value = value

    def add(self, block: RowBlock) -> None:
        """Add the rows of ``block``."""
        packed = canonical_rows(block).tobytes()
        width = len(DIGEST_COLUMNS) * 8
        pieces = [packed[start : start + width] for start in range(0, len(packed), width)]
        generated = block.column("generated_tokens")
        for row in np.flatnonzero((block.column("status") != _FINISHED_CODE) & (generated > 0)).tolist():
            pieces[row] += generated.item(row).to_bytes(8, "little")
        for name, code in _FLEET_CODES.items():
            column = block.column(name)
            for row in np.flatnonzero(column > (1 if name == "attempts" else -1)).tolist():
                pieces[row] += code + column.item(row).to_bytes(8, "little")
        reason = block.column("reason")
        for row in np.flatnonzero(np.isin(block.column("status"), _REASONED_CODES)).tolist():
            pieces[row] += _packed_word("reason") + _packed_word(REASONS[reason.item(row)])
        hashes = b"".join([sha256(piece).digest() for piece in pieces])
        # Columns of 32-bit limbs sum without overflow up to 2**32 rows; Python's integers take the carries.
        limbs = np.frombuffer(hashes, "<u4").reshape(-1, 8).sum(axis=0, dtype=np.uint64)
        total = sum(int(limb) << (32 * index) for index, limb in enumerate(limbs))
        self.value = (self.value + total) % _MODULUS

    def merge(self, other: "RowDigest") -> None:
        """Add the rows of ``other``."""
        self.value = (self.value + other.value) % _MODULUS

    def hexdigest(self) -> str:
        """Return the digest as 64 hexadecimal digits."""
        return f"{self.value:064x}"
