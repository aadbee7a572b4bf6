"""State of a replica, as live metrics show it."""

from typing import NamedTuple

from cluster_sim.recording.replica_log import ReplicaLog


class LiveState(NamedTuple):
    """State of a replica at one moment, and its log, which goes on."""

    running: int
    waiting: int
    kv_used_blocks: int
    busy_ns: int
    """Work of all stages so far."""
    upto_ns: int
    """Iterations that end later are in flight, and do not count."""
    adapters: tuple[tuple[str, ...], tuple[str, ...]]
    """LoRA adapters in use, and waited for."""
    log: ReplicaLog
    ranks: tuple[tuple[int, int, int], ...] = ()
    """(running, waiting, KV blocks in use) of each data-parallel rank, if there are several; ``log`` has theirs."""
