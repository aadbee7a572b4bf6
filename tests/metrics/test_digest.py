"""Tests of the digest of a run."""

import struct
from hashlib import sha256

import numpy as np

from cluster_sim.metrics.digest import DIGEST_COLUMNS, RowDigest
from cluster_sim.metrics.request_totals import RequestTotals
from cluster_sim.recording.request_log import RequestLog
from cluster_sim.recording.rows import FIELD, ROW_FIELDS, RequestRow, RowBlock
from cluster_sim.recording.statuses import STATUSES
from cluster_sim.workload.request import Attributes, Request


def _digest(numbers: list[int], block_rows: int, shift_ns: int = 0) -> str:
    digest = RowDigest()
    log = RequestLog(RequestTotals(3, ["main"]), [digest.add], "llama", block_rows)
    for i in numbers:
        tenant = Attributes(tenant=f"t{i % 3}")
        log.add(RequestRow(Request(i, i, 10, 2, tenant), "finished", i % 3, "main", i, i + 1, i + 2, i + 3 + shift_ns))
    log.flush()
    return digest.hexdigest()


def test_one_row_by_hand() -> None:
    """The digest of one row is the SHA-256 of its columns packed as the documentation says."""

    def code(word: str) -> int:
        return struct.unpack("<q", sha256(word.encode()).digest()[:8])[0]

    digest = RowDigest()
    log = RequestLog(RequestTotals(3, ["main"]), [digest.add], "llama")
    log.add(RequestRow(Request(4, 1_000, 10, 2), "refused", -1, "", -1, -1, -1, 1_000))
    log.flush()
    row = (4, -1, code(""), code("llama"), code(""), -1, code("refused"), 1_000, -1, -1, -1, 1_000, 10, 2, 0, 0, 0)
    # The sum reads each hash as a little-endian integer.
    expected = int.from_bytes(sha256(struct.pack("<17q", *row)).digest(), "little")
    assert digest.hexdigest() == f"{expected:064x}"


def test_order_and_blocks_do_not_matter() -> None:
    """The same rows in another order, cut into other blocks, with words met in another order, digest alike."""
    numbers = list(range(50))
    shuffled = np.random.default_rng(0).permutation(50).tolist()
    assert _digest(numbers, 7) == _digest(shuffled, 1_000)


def test_one_nanosecond_matters() -> None:
    """A nanosecond more changes the digest, and a row twice is not a row once."""
    assert _digest([0, 1, 2], 10) != _digest([0, 1, 2], 10, shift_ns=1)
    assert _digest([0, 1], 10) != _digest([0, 1, 1], 10)


def test_every_column_matters() -> None:
    """A change of any column of any row changes the digest, but for two that other columns imply.

    The tokens generated count only where a request did not finish, and the reason never does.
    """
    rows = np.zeros((2, len(ROW_FIELDS)), np.int64)

    def digest_of(rows: np.ndarray) -> str:
        digest = RowDigest()
        digest.add(RowBlock(rows, ("", "t"), ("", "m"), ("main", "other")))
        return digest.hexdigest()

    seen = {digest_of(rows)}
    for row in range(2):
        for column in range(len(DIGEST_COLUMNS)):
            changed = rows.copy()
            changed[row, column] = 1
            seen.add(digest_of(changed))
    # The two rows are equal before the change, so it does not matter which of them changes.
    assert len(seen) == 1 + len(DIGEST_COLUMNS)


def test_tokens_of_unfinished_requests_matter() -> None:
    """The row of a cancelled request goes on with the tokens that were generated for it, if there are any."""

    def digest_of(status: str, generated_tokens: int) -> str:
        row = np.zeros((1, len(ROW_FIELDS)), np.int64)
        row[0, FIELD["status"]], row[0, FIELD["generated_tokens"]] = STATUSES.index(status), generated_tokens
        digest = RowDigest()
        digest.add(RowBlock(row, ("",), ("",), ("main",)))
        return digest.hexdigest()

    assert digest_of("finished", 5) == digest_of("finished", 0)
    assert len({digest_of("cancelled", tokens) for tokens in (0, 1, 2)}) == 3


def test_merge_equals_one_digest() -> None:
    """Digests of parts merge into the digest of the whole, modulo 2**256."""
    first, second = RowDigest(int(_digest([1, 2], 10), 16)), RowDigest(int(_digest([3], 10), 16))
    first.merge(second)
    assert first.hexdigest() == _digest([3, 1, 2], 10)
    wrapped = RowDigest(2**256 - 1)
    wrapped.merge(RowDigest(2))
    assert wrapped.value == 1


def test_columns_of_a_fleet_matter_where_they_are_not_null() -> None:
    """A row goes on with pairs of a word and a value for each column in use; 1 attempt and nulls change nothing."""

    def word(text: str) -> bytes:
        return sha256(text.encode()).digest()[:8]

    def digest_of(status: str, **values: int | str) -> int:
        digest = RowDigest()
        log = RequestLog(RequestTotals(3, ["main"]), [digest.add], "llama")
        log.add(RequestRow(Request(4, 1, 10, 2), status, 1, "main", 2, 3, 4, 5, **values))
        log.flush()
        return digest.value

    plain = (4, -1, *struct.unpack("<4q", word("") + word("llama") + word("main") + struct.pack("<q", 1)))
    finished = struct.pack("<17q", *plain, *struct.unpack("<q", word("finished")), 1, 2, 3, 4, 5, 10, 2, 0, 0, 0)
    assert digest_of("finished", attempts=1) == int.from_bytes(sha256(finished).digest(), "little")
    assert digest_of("finished") == digest_of("finished", attempts=1)
    moved = word("prefill_replica") + struct.pack("<q", 0) + word("transfer_bytes") + struct.pack("<q", 70)
    moved += word("attempts") + struct.pack("<q", 2)
    expected = int.from_bytes(sha256(finished + moved).digest(), "little")
    assert digest_of("finished", prefill_replica=0, transfer_bytes=70, attempts=2) == expected
    assert digest_of("failed", reason="crash") != digest_of("failed", reason="unreachable")
    assert digest_of("cancelled", reason="client_timeout") == digest_of("cancelled", reason="")
