"""The way between a replica and the KV store that several replicas share: whose blocks it can use, and how fast."""

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class StoreLink:
    """Time to load a prefix from the store: one request after the other over the replica's own link."""

    latency_ns: int
    ns_per_token: float

    def load_ns(self, tokens: int) -> int:
        """Return how long ``tokens`` tokens take, at least one."""
        return self.latency_ns + round(tokens * self.ns_per_token)


class KvLayout(NamedTuple):
    """What KV blocks must have in common to be interchangeable: the key of a pool in a store."""

    model: str
    tensor_parallel: int
    pipeline_parallel: int
    kv_bytes_per_token: int
    """Over all GPUs of a replica; tells precisions apart."""
