"""Parts of the time of a request, from its arrival to its end: they add up to it to the nanosecond.

Most parts lie between two recorded instants.  A replica works on several requests at a time, so the computation of one
is split in two: what it would have taken alone on an idle replica (``IdleReplica``, interpolated between lengths), and
the rest, which other requests of its batches caused.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from cluster_sim.recording.rows import RowBlock
from cluster_sim.recording.statuses import STATUSES, UNFINISHED
from cluster_sim.units import NS_PER_S, read_ns

Int64Array = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

_UNKNOWN: Final = {
    **dict.fromkeys(("tokens", "prefill_s", "decode_s"), None),
    **dict.fromkeys(("forward_link_s", "return_link_s", "cold_start_s"), 0.0),
}
_UNFINISHED_CODE: Final = STATUSES.index(UNFINISHED)

PARTS: Final = {
    "router": "waiting at the router",
    "encoding": "at an encoder, its queue and the way from it included",
    "cold_start": "waiting for its replica to start",
    "failed_attempts": "attempts that failed, and waiting for the next",
    "network": "links between router and replica",
    "queue": "waiting at the replica",
    "prefill": "computing its prompt",
    "prefill_batch": "others in its batches, while its prompt was computed",
    "handover": "waiting for the decode replica",
    "transfer": "moving its KV cache",
    "preemption": "preempted, and computed again",
    "decode": "generating its tokens",
    "decode_batch": "others in its batches, while its tokens were generated",
}
"""The parts in the order of time, with what each is in words."""

PART_NAMES: Final = {
    "router": "router",
    "encoding": "encoder",
    "cold_start": "cold start",
    "failed_attempts": "failed attempts",
    "network": "network",
    "queue": "replica's queue",
    "prefill": "prefill",
    "prefill_batch": "batch mates in prefill",
    "handover": "decode replica",
    "transfer": "transfer",
    "preemption": "preemption",
    "decode": "decode",
    "decode_batch": "batch mates in decode",
}
"""The same in a word or two, for legends."""

PART_FIELDS: Final = (
    *("request_id", "pool", "replica", "status", "arrival_ns", "dispatch_ns", "scheduled_ns", "first_token_ns"),
    *("finish_ns", "prompt_tokens", "output_tokens", "cached_tokens", "prefill_replica", "transfer_start_ns"),
    *("transfer_ns", "first_dispatch_ns", "prefilled_ns", "preempted_ns", "restarted_ns", "interrupted_ns"),
    *("encode_start_ns", "encoded_ns"),
)
"""The columns of rows that ``time_parts_ns`` reads."""


class IdleReplica(NamedTuple):
    """What a request takes that has a replica of a pool to itself, and what its replicas have in common."""

    tokens: FloatArray
    """Lengths, rising from 0."""
    prefill_ns: FloatArray
    """Time to compute a prompt of each length."""
    decode_ns: FloatArray
    """Time of all decode steps whose context is shorter than each length."""
    forward_link_ns: int = 0
    return_link_ns: int = 0
    cold_start_ns: int = 0

    @classmethod
    def from_summary(cls, entry: dict[str, Any]) -> "IdleReplica":
        """Return what an entry of ``idle_replicas`` of a summary says; without lengths nothing is known of steps."""
        known = (np.array(entry[name] or [0.0], np.float64) for name in ("tokens", "prefill_s", "decode_s"))
        tokens, prefill_s, decode_s = known
        links = (read_ns(entry[f"{name}_s"]) for name in ("forward_link", "return_link", "cold_start"))
        return cls(tokens, prefill_s * NS_PER_S, decode_s * NS_PER_S, *links)

    @property
    def knows_steps(self) -> bool:
        """Whether step times of one request alone are known."""
        return len(self.tokens) > 1

    def prefill_alone_ns(self, prompt: Int64Array, cached: Int64Array) -> Int64Array:
        """Return the time to compute prompts of which some leading tokens are cached, int64[n]."""
        rest = np.interp(prompt, self.tokens, self.prefill_ns) - np.interp(cached, self.tokens, self.prefill_ns)
        # A short rest still reads all weights once.
        alone = np.maximum(rest, np.interp(prompt - cached, self.tokens, self.prefill_ns))
        rounded: Int64Array = np.rint(alone).astype(np.int64)
        return rounded

    def decode_alone_ns(self, prompt: Int64Array, output: Int64Array) -> Int64Array:
        """Return the time of all decode steps after the first token, int64[n]."""
        last = np.interp(prompt + np.maximum(output, 1) - 1, self.tokens, self.decode_ns)
        alone = last - np.interp(prompt, self.tokens, self.decode_ns)
        rounded: Int64Array = np.rint(alone).astype(np.int64)
        return rounded


class Fleet(NamedTuple):
    """What a breakdown must know of the replicas."""

    pools: tuple[IdleReplica, ...]
    pool_of_replica: Int64Array
    joined_ns: Int64Array
    """When each replica began to start; -1 if it never did."""

    @classmethod
    def from_summary(cls, summary: dict[str, Any]) -> "Fleet":
        """Return the fleet of a run by its summary, which may be of an earlier release."""
        known = {entry["name"]: entry for entry in summary.get("idle_replicas", ())}
        numbers = {pool["name"]: number for number, pool in enumerate(summary["pools"])}
        replicas = summary["replicas"]
        joined_s = [replica.get("joined_s") for replica in replicas]
        return cls(
            tuple(IdleReplica.from_summary(known.get(name, _UNKNOWN)) for name in numbers),
            np.array([numbers[replica["pool"]] for replica in replicas], np.int64),
            np.array([-1 if time is None else read_ns(time) for time in joined_s], np.int64),
        )


def time_parts_ns(block: RowBlock, fleet: Fleet, end_ns: int) -> Int64Array:
    """Return the parts of every row, int64[n, len(PARTS)]; ``end_ns`` is the end of the run.

    A row's parts add up to the time from its arrival to its finish, or to the end of the run.  Whatever a request has
    not reached takes no time: one that was shed at the router spent all of it there.
    """
    column = block.column
    # What neither finished nor was cut off by the end of the run was turned away when it came.
    otherwise = np.where(column("status") == _UNFINISHED_CODE, end_ns, column("arrival_ns"))
    end = _or(column("finish_ns"), otherwise)
    dispatch = _or(column("dispatch_ns"), end)
    first_dispatch = _or(column("first_dispatch_ns"), dispatch)
    scheduled, first_token = _or(column("scheduled_ns"), end), _or(column("first_token_ns"), end)
    links = _links(block, fleet)
    parts = dict.fromkeys(PARTS, np.zeros(len(end), np.int64))

    waited = first_dispatch - column("arrival_ns")
    encoding = np.minimum(column("encoded_ns"), first_dispatch) - column("encode_start_ns")
    parts["encoding"] = np.where(column("encode_start_ns") >= 0, encoding, 0)
    routing = waited - parts["encoding"]
    parts["cold_start"] = np.minimum(routing, _cold_start_ns(block, fleet, first_dispatch))
    parts["router"] = routing - parts["cold_start"]
    parts["failed_attempts"] = dispatch - first_dispatch
    forward = np.minimum(links[0], scheduled - dispatch)
    parts["queue"] = scheduled - dispatch - forward

    prefilled = _or(column("prefilled_ns"), first_token)
    moved_from = np.clip(_or(column("transfer_start_ns"), prefilled), prefilled, first_token)
    moved_until = np.clip(column("transfer_start_ns") + column("transfer_ns"), moved_from, first_token)
    is_handed_over = column("prefilled_ns") >= 0
    after = np.where(is_handed_over, first_token - moved_until, prefilled - scheduled)
    back = np.minimum(np.where(column("first_token_ns") >= 0, links[1], 0), after)
    parts["network"] = forward + back
    parts["transfer"] = moved_until - moved_from
    parts["handover"] = np.where(is_handed_over, moved_from - prefilled + after - back, 0)
    computing = prefilled - scheduled - np.where(is_handed_over, 0, back)
    lost = np.clip(column("restarted_ns") - scheduled, 0, computing)
    computing = computing - lost
    prefill, decode = _alone_ns(block, fleet)
    parts["prefill"] = np.minimum(prefill, computing)
    parts["prefill_batch"] = computing - parts["prefill"]

    decoding = end - first_token
    interrupted = np.clip(column("interrupted_ns"), 0, decoding)
    parts["failed_attempts"] = parts["failed_attempts"] + interrupted
    preempted = np.clip(column("preempted_ns"), 0, decoding - interrupted)
    parts["preemption"] = lost + preempted
    decoding = decoding - interrupted - preempted
    parts["decode"] = np.minimum(decode, decoding)
    parts["decode_batch"] = decoding - parts["decode"]
    return np.stack(list(parts.values()), axis=1)


def _or(times: Int64Array, otherwise: Int64Array) -> Int64Array:
    """Return ``times``, or ``otherwise`` where they are null."""
    return np.where(times >= 0, times, otherwise)


def _cold_start_ns(block: RowBlock, fleet: Fleet, dispatch: Int64Array) -> Int64Array:
    """Return how long each request waited while the replica that took it was starting."""
    none = np.zeros(len(dispatch), np.int64)
    prefill_replica = block.column("prefill_replica")
    replica = np.where(prefill_replica >= 0, prefill_replica, block.column("replica"))
    if not len(fleet.joined_ns) or not any(pool.cold_start_ns for pool in fleet.pools):
        return none
    joined = fleet.joined_ns[replica]
    start_ns = np.array([pool.cold_start_ns for pool in fleet.pools], np.int64)[fleet.pool_of_replica[replica]]
    overlap = np.minimum(dispatch, joined + start_ns) - np.maximum(block.column("arrival_ns"), joined)
    return np.where((replica >= 0) & (joined > 0), np.maximum(overlap, 0), none)


def _links(block: RowBlock, fleet: Fleet) -> tuple[Int64Array, Int64Array]:
    """Return the links of each row's pool, to the replica and back; 0 for a request that reached none."""
    forward = np.array([*(pool.forward_link_ns for pool in fleet.pools), 0], np.int64)
    back = np.array([*(pool.return_link_ns for pool in fleet.pools), 0], np.int64)
    pool = block.column("pool")
    return forward[pool], back[pool]


def _alone_ns(block: RowBlock, fleet: Fleet) -> tuple[Int64Array, Int64Array]:
    """Return the time that each prompt and each answer takes alone; more than any run where no steps are known."""
    prompt, output, cached = (block.column(f"{name}_tokens") for name in ("prompt", "output", "cached"))
    prefill = np.full(len(prompt), 1 << 62, np.int64)
    decode = prefill.copy()
    prefill_replica, decode_pool = block.column("prefill_replica"), block.column("pool")
    prefill_pool = decode_pool
    if len(fleet.pool_of_replica):
        prefill_pool = np.where(prefill_replica >= 0, fleet.pool_of_replica[prefill_replica], decode_pool)
    for number, pool in enumerate(fleet.pools):
        if not pool.knows_steps:
            continue
        here = prefill_pool == number
        prefill[here] = pool.prefill_alone_ns(prompt[here], cached[here])
        here = decode_pool == number
        decode[here] = pool.decode_alone_ns(prompt[here], output[here])
    return prefill, decode


def total_ns(parts: Int64Array, names: Sequence[str]) -> Int64Array:
    """Return the sum of some of the parts of every row, int64[n]."""
    order = list(PARTS)
    total: Int64Array = parts[:, [order.index(name) for name in names]].sum(axis=1)
    return total
