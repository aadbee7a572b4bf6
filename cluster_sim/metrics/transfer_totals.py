"""Totals over the requests whose KV cache moved from the replica that computed the prompt to the one that decoded."""

from typing import Any, Final

import numpy as np

from cluster_sim.recording.exact_sums import exact_sum
from cluster_sim.recording.rows import RowBlock
from cluster_sim.recording.sketch import EXACT_LIMIT, QuantileSketch

_SUMS: Final = ("handed_over", "moved_bytes", "moved_ns", "ttft_ns")


class TransferTotals:
    """Totals over the transfers of all rows, whatever their status; a plain fleet's rows cost one comparison a block.

    ``moved_ns`` and ``ttft_ns`` cover the rows that have both a transfer and a first token.
    """

    def __init__(self, exact_limit: int = EXACT_LIMIT) -> None:
        self.handed_over = 0
        """Requests whose prompt another replica computed."""
        self.moved_bytes = 0
        self.moved_ns = 0
        self.ttft_ns = 0
        self.sketch = QuantileSketch(exact_limit)
        """Durations of the transfers in ns."""

    @property
    def share_of_ttft(self) -> float | None:
        """Time of the transfers over the TTFT of their requests."""
        return self.moved_ns / self.ttft_ns if self.ttft_ns else None

    def add(self, block: RowBlock) -> None:
        """Add the rows of ``block``."""
        prefill_replica = block.column("prefill_replica")
        if prefill_replica.max(initial=-1) < 0:
            return
        duration, moved = block.column("transfer_ns"), block.column("transfer_bytes")
        self.handed_over += int((prefill_replica >= 0).sum())
        self.moved_bytes += exact_sum(moved[moved >= 0])
        self.sketch.add_many(duration[duration >= 0])
        first = block.column("first_token_ns")
        has_both = (duration >= 0) & (first >= 0)
        self.moved_ns += exact_sum(duration[has_both])
        self.ttft_ns += exact_sum(np.maximum(first - block.column("arrival_ns"), 0)[has_both])

    def snapshot(self) -> dict[str, Any]:
        """Return the whole state as plain data fit for msgpack."""
        return {"sums": [str(getattr(self, name)) for name in _SUMS], "sketch": self.sketch.to_plain()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back a state returned by ``snapshot``."""
        for name, value in zip(_SUMS, state["sums"], strict=True):
            setattr(self, name, int(value))
        self.sketch = QuantileSketch.from_plain(state["sketch"])
