"""Running totals over finished rows: bounded in memory however many requests there are.

All state is integer and depends on the set of rows alone, never on their order, so every executor reports the same
figures to the last digit.
"""

from collections.abc import Sequence
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from cluster_sim.metrics.batch_means import BatchMeans
from cluster_sim.metrics.latencies import Latencies, latencies_ns
from cluster_sim.metrics.objective_totals import ObjectiveTotals
from cluster_sim.metrics.objectives import Slo
from cluster_sim.metrics.presence import Presence
from cluster_sim.metrics.transfer_totals import TransferTotals
from cluster_sim.recording import buckets
from cluster_sim.recording.exact_sums import exact_sum, sums_by_group
from cluster_sim.recording.reasons import REASONS
from cluster_sim.recording.rows import FIELD, RowBlock
from cluster_sim.recording.sketch import EXACT_LIMIT, QuantileSketch
from cluster_sim.recording.statuses import FINISHED, STATUSES

Int64Array = npt.NDArray[np.int64]
_Number = TypeVar("_Number", int, npt.NDArray[np.int64])

SKETCHED: Final = Latencies._fields
"""Intervals whose distribution is kept, overall and per pool, in ns."""

HISTOGRAMS: Final[dict[str, tuple[float, ...]]] = {
    "ttft": buckets.TTFT_GRID_S,
    "tpot": buckets.TPOT_GRID_S,
    "e2e": buckets.E2E_GRID_S,
    "queue": buckets.QUEUE_GRID_S,
    "inference": buckets.REQUEST_S,
    "prefill": buckets.REQUEST_S,
    "decode": buckets.REQUEST_S,
}
"""Histograms kept per replica, over finished requests."""

TOKEN_HISTOGRAMS: Final = ("prompt_tokens", "output_tokens", "cached_tokens", "computed_tokens")
"""Histograms of tokens; ``computed_tokens`` are those of the prompt that no cache had."""

SUMS: Final = (
    "finished",
    "prompt_tokens",
    "output_tokens",
    "cached_tokens",
    "preemptions",
    "retries",
    "decode_reads_tokens",
    "prefill_pairs",
    *(f"{name}_ns" for name in HISTOGRAMS),
    "transfer_ns",
    "transfer_bytes",
)
"""Sums kept per replica, over finished requests; the last two over all requests whose KV cache was moved to it.  Two
decide the energy: ``decode_reads_tokens`` counts the cached tokens that each decode step of a request reads,
``prefill_pairs`` the (query, key) pairs of its prompt without the cached part."""

_HISTOGRAM_BOUNDS_NS: Final = {name: buckets.nanoseconds(bounds) for name, bounds in HISTOGRAMS.items()}
_TRANSFER_BOUNDS: Final = {
    "transfer": buckets.nanoseconds(buckets.NIXL_S),
    "transfer_bytes": np.array(buckets.NIXL_BYTES, np.int64),
}
_FINISHED_CODE: Final = STATUSES.index(FINISHED)
_PLAIN: Final = ("first_arrival_ns", "last_arrival_ns", "first_finished_arrival_ns", "last_completion_ns")
_PLAIN_SUMS: Final = (
    "served",
    "served_ns",
    "in_service",
    "in_service_since_ns",
    "attempts_all",
    "retries_all",
    "prefilled_tokens",
    "generated_tokens",
)


class RequestTotals:
    """Totals over all rows added; ``max_model_tokens`` is the largest context, which bounds the token histograms.

    ``served`` counts the rows that reached a replica and ended, ``served_ns`` sums their time from dispatch to end;
    ``in_service`` counts those that reached one and have no end, ``in_service_since_ns`` sums their dispatches.
    ``objectives`` has what the limits of ``slo`` ask; ``end_ns`` is the end of the run, if the study says so.
    ``sums`` holds Python's integers by replica and ``SUMS``: nanoseconds over many requests leave 64 bits.
    """

    def __init__(
        self,
        replicas: int,
        pools: Sequence[str],
        max_model_tokens: int = 131_072,
        slo: Slo | None = None,
        exact_limit: int = EXACT_LIMIT,
        end_ns: int = -1,
        ranks: int = 1,
    ) -> None:
        """``ranks`` is the largest number of data-parallel ranks of a replica."""
        self.pools = tuple(pools)
        self.ranks = ranks
        self.by_rank = RequestTotals(replicas * ranks, pools, max_model_tokens, exact_limit=1) if ranks > 1 else None
        """Totals of the same rows by ``rank_row``, if replicas have several ranks; their statistics are none."""
        self.objectives = ObjectiveTotals(slo or Slo(), end_ns, exact_limit)
        self.exact_limit = exact_limit
        self.token_bounds = buckets.token_grid(max_model_tokens)
        self.statuses: Int64Array = np.zeros(len(STATUSES), np.int64)
        self.reasons: Int64Array = np.zeros(len(REASONS), np.int64)
        """Rows by reason; the first counts those that have none."""
        self.replica_statuses: Int64Array = np.zeros((replicas, len(STATUSES)), np.int64)
        self.sums: npt.NDArray[np.object_] = np.zeros((replicas, len(SUMS)), np.object_)
        self.first_arrival_ns = -1
        self.last_arrival_ns = -1
        self.first_finished_arrival_ns = -1
        """First arrival of a request that finished."""
        self.last_completion_ns = -1
        self.served = 0
        self.served_ns = 0
        self.in_service = 0
        self.in_service_since_ns = 0
        self.attempts_all = 0
        """Dispatches to replicas."""
        self.retries_all = 0
        self.prefilled_tokens = 0
        """Prompts of the rows that got a first token."""
        self.generated_tokens = 0
        """Tokens generated for all rows, however they ended."""
        self.batch_means = BatchMeans()
        self.presence = Presence()
        self.transfers = TransferTotals(exact_limit)
        self.sketches = {name: QuantileSketch(exact_limit) for name in SKETCHED}
        self.pool_sketches = [{name: QuantileSketch(exact_limit) for name in SKETCHED} for _ in self.pools]
        self.histograms: dict[str, Int64Array] = {
            name: np.zeros((replicas, len(bounds) + 1), np.int64) for name, bounds in HISTOGRAMS.items()
        }
        for name, bounds in _TRANSFER_BOUNDS.items():
            self.histograms[name] = np.zeros((replicas, len(bounds) + 1), np.int64)
        for name in TOKEN_HISTOGRAMS:
            self.histograms[name] = np.zeros((replicas, len(self.token_bounds) + 1), np.int64)

    @property
    def requests(self) -> int:
        """Rows added so far, whatever their status."""
        return int(self.statuses.sum())

    def count(self, status: str) -> int:
        """Return the number of rows with ``status``."""
        return int(self.statuses[STATUSES.index(status)])

    def total(self, name: str) -> int:
        """Return one of ``SUMS`` over all replicas."""
        return int(self.sums[:, SUMS.index(name)].sum())

    def reserve(self, replicas: int) -> None:
        """Have room for so many replicas, some of which have joined during the run."""
        if self.by_rank is not None:
            self.by_rank.reserve(replicas * self.ranks)
        missing = replicas - len(self.replica_statuses)
        if missing > 0:
            self.replica_statuses = np.pad(self.replica_statuses, ((0, missing), (0, 0)))
            more = np.zeros((missing, len(SUMS)), np.object_)
            self.sums = np.concatenate([self.sums, more])
            self.histograms = {name: np.pad(counts, ((0, missing), (0, 0))) for name, counts in self.histograms.items()}

    def add_pools(self, names: Sequence[str]) -> None:
        """Take in pools that no row is of so far."""
        if self.by_rank is not None:
            self.by_rank.add_pools(names)
        if len(self.pools) == 1:  # Its figures were those of all rows.
            self.pool_sketches = [
                {name: QuantileSketch.from_plain(sketch.to_plain()) for name, sketch in self.sketches.items()}
            ]
        self.pools += tuple(names)
        self.pool_sketches += [{name: QuantileSketch(self.exact_limit) for name in SKETCHED} for _ in names]

    def add(self, block: RowBlock) -> None:
        """Add the rows of ``block``."""
        if not len(block.rows):
            return
        self.reserve(int(block.column("replica").max()) + 1)
        if self.by_rank is not None:
            self.by_rank.add(_of_ranks(block, self.ranks))
        self._add_all_statuses(block)
        self.transfers.add(block)
        moved = block.rows[block.column("transfer_ns") >= 0]
        if len(moved):
            self._add_transfers(block._replace(rows=moved))
        self.objectives.add(block)
        finished = block.rows[block.column("status") == _FINISHED_CODE]
        if len(finished):
            self._add_finished(block._replace(rows=finished))

    def snapshot(self) -> dict[str, Any]:
        """Return the whole state as plain data fit for msgpack."""
        return {
            "statuses": self.statuses.tolist(),
            "reasons": self.reasons.tolist(),
            "replica_statuses": self.replica_statuses.tobytes(),
            "sums": [list(map(str, row)) for row in self.sums.tolist()],
            "plain": [getattr(self, name) for name in _PLAIN],
            "plain_sums": [str(getattr(self, name)) for name in _PLAIN_SUMS],
            "objectives": self.objectives.snapshot(),
            "batch_means": self.batch_means.snapshot(),
            "presence": self.presence.snapshot(),
            "transfers": self.transfers.snapshot(),
            "sketches": {name: sketch.to_plain() for name, sketch in self.sketches.items()},
            "pool_sketches": [
                {name: sketch.to_plain() for name, sketch in sketches.items()} for sketches in self.pool_sketches
            ],
            "histograms": {name: counts.tobytes() for name, counts in self.histograms.items()},
            "by_rank": None if self.by_rank is None else self.by_rank.snapshot(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take back a state returned by ``snapshot``."""
        self.statuses = np.array(state["statuses"], np.int64)
        self.reasons = np.array(state["reasons"], np.int64)
        self.replica_statuses = _array_like(self.replica_statuses, state["replica_statuses"])
        self.sums = np.array([list(map(int, row)) for row in state["sums"]], np.object_).reshape(-1, len(SUMS))
        for name, value in zip(_PLAIN, state["plain"], strict=True):
            setattr(self, name, value)
        for name, value in zip(_PLAIN_SUMS, state["plain_sums"], strict=True):
            setattr(self, name, int(value))
        self.objectives.restore(state["objectives"])
        self.batch_means.restore(state["batch_means"])
        self.presence.restore(state["presence"])
        self.transfers.restore(state["transfers"])
        self.sketches = {name: QuantileSketch.from_plain(plain) for name, plain in state["sketches"].items()}
        self.pool_sketches = [
            {name: QuantileSketch.from_plain(plain) for name, plain in sketches.items()}
            for sketches in state["pool_sketches"]
        ]
        self.histograms = {
            name: _array_like(self.histograms[name], counts) for name, counts in state["histograms"].items()
        }
        if self.by_rank is not None:
            self.by_rank.restore(state["by_rank"])

    def _add_all_statuses(self, block: RowBlock) -> None:
        status, replica, arrival = block.column("status"), block.column("replica"), block.column("arrival_ns")
        self.statuses += np.bincount(status, minlength=len(STATUSES))
        self.reasons += np.bincount(block.column("reason"), minlength=len(REASONS))
        placed = replica >= 0
        flat = replica[placed] * len(STATUSES) + status[placed]
        self.replica_statuses += np.bincount(flat, minlength=self.replica_statuses.size).reshape(-1, len(STATUSES))
        first, last = int(arrival.min()), int(arrival.max())
        self.first_arrival_ns = first if self.first_arrival_ns < 0 else min(self.first_arrival_ns, first)
        self.last_arrival_ns = max(self.last_arrival_ns, last)
        finish = block.column("finish_ns")
        self.last_completion_ns = max(
            self.last_completion_ns, int(finish.max(initial=-1, where=status == _FINISHED_CODE))
        )
        dispatch = block.column("dispatch_ns")
        served, in_service = placed & (dispatch >= 0) & (finish >= 0), placed & (dispatch >= 0) & (finish < 0)
        self.served += int(served.sum())
        self.served_ns += exact_sum(finish[served] - dispatch[served])
        self.in_service += int(in_service.sum())
        self.in_service_since_ns += exact_sum(dispatch[in_service])
        self.attempts_all += int(np.maximum(block.column("attempts"), 0).sum())
        self.retries_all += int(block.column("retries").sum())
        self.prefilled_tokens += exact_sum(block.column("prompt_tokens")[block.column("first_token_ns") >= 0])
        self.generated_tokens += exact_sum(block.column("generated_tokens"))
        is_finished = status == _FINISHED_CODE
        self.batch_means.add(block.column("request_id"), arrival, np.where(is_finished, finish - arrival, -1))
        is_sent = dispatch >= 0
        if is_sent.any():
            self.presence.add(arrival[is_sent], finish[is_sent])

    def _add_finished(self, block: RowBlock) -> None:
        first = int(block.column("arrival_ns").min())
        known = self.first_finished_arrival_ns
        self.first_finished_arrival_ns = first if known < 0 else min(known, first)
        several = block.column("output_tokens") > 1
        intervals = latencies_ns(block)._asdict()
        self._add_sums(block, intervals)
        self._add_histograms(block, intervals)
        pool = block.column("pool")
        for name in SKETCHED:
            values = intervals[name]
            # Statistics leave out the TPOT of a single token, which is 0 in vLLM's histogram.
            chosen = several if name == "tpot" else np.ones(len(values), np.bool_)
            self.sketches[name].add_many(values[chosen])
            if len(self.pools) > 1:
                for index, sketches in enumerate(self.pool_sketches):
                    sketches[name].add_many(values[chosen & (pool == index)])

    def _add_transfers(self, block: RowBlock) -> None:
        replica = block.column("replica")
        for name, column in (("transfer", "transfer_ns"), ("transfer_bytes", "transfer_bytes")):
            values = block.column(column)
            _count_rows_into(self.histograms[name], _TRANSFER_BOUNDS[name], replica, values)
            high, low = sums_by_group(replica, values, len(self.sums))
            self.sums[:, SUMS.index(column)] += (high.astype(np.object_) << 32) + low

    def _add_sums(self, block: RowBlock, intervals: dict[str, Int64Array]) -> None:
        replica = block.column("replica")
        for index, name in enumerate(SUMS[:-2]):
            if name == "finished":
                values = np.ones_like(replica)
            elif name.endswith("_ns"):
                values = intervals[name.removesuffix("_ns")]
            elif name == "decode_reads_tokens":
                values = _decode_reads(block)
            elif name == "prefill_pairs":
                values = _prefill_pairs(block)
            else:
                values = block.column(name)
            high, low = sums_by_group(replica, values, len(self.sums))
            self.sums[:, index] += (high.astype(np.object_) << 32) + low

    def _add_histograms(self, block: RowBlock, intervals: dict[str, Int64Array]) -> None:
        replica = block.column("replica")
        for name, bounds in _HISTOGRAM_BOUNDS_NS.items():
            _count_rows_into(self.histograms[name], bounds, replica, intervals[name])
        token_bounds = np.array(self.token_bounds, np.int64)
        for name in TOKEN_HISTOGRAMS:
            if name == "computed_tokens":
                values = block.column("prompt_tokens") - block.column("cached_tokens")
            else:
                values = block.column(name)
            _count_rows_into(self.histograms[name], token_bounds, replica, values)


def _of_ranks(block: RowBlock, ranks: int) -> RowBlock:
    """Return rows with ``rank_row`` in place of the replica; those that no rank took count as the first one's."""
    rows = block.rows.copy()
    replica, rank = rows[:, FIELD["replica"]], rows[:, FIELD["rank"]]
    replica[:] = np.where(replica >= 0, rank_row(replica, np.maximum(rank, 0), ranks), -1)
    return block._replace(rows=rows)


def rank_row(replica: _Number, rank: _Number, ranks: int) -> _Number:
    """Return the row of a rank where replicas have ``ranks`` rows each, whether they use them or not."""
    return replica * ranks + rank


def _decode_reads(block: RowBlock) -> Int64Array:
    """Cached tokens read by a request's decode steps: prompt + j for the j-th of output - 1 steps, j from 0."""
    steps = np.maximum(block.column("output_tokens") - 1, 0)
    result: Int64Array = steps * block.column("prompt_tokens") + steps * (steps - 1) // 2
    return result


def _prefill_pairs(block: RowBlock) -> Int64Array:
    """Causal pairs of the prompt tokens that were computed: the prompt's triangle less the cached part's."""
    prompt, cached = block.column("prompt_tokens"), block.column("cached_tokens")
    result: Int64Array = (prompt * (prompt + 1) - cached * (cached + 1)) // 2
    return result


def _count_rows_into(counts: Int64Array, bounds: Int64Array, replica: Int64Array, values: Int64Array) -> None:
    """Add every value to its replica's histogram ``counts``[replicas, len(bounds) + 1]."""
    width = len(bounds) + 1
    flat = replica * width + np.searchsorted(bounds, values, side="left")
    counts += np.bincount(flat, minlength=counts.size).reshape(counts.shape)


def _array_like(shape_of: Int64Array, data: bytes) -> Int64Array:
    return np.frombuffer(data, np.int64).reshape(-1, shape_of.shape[1]).copy()
