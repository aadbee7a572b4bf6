"""Options of the shared KV store: its size, its links, and what it keeps."""

from typing import Final, Literal

from pydantic import Field

from cluster_sim.options import MS_PER_DAY, ConfigModel
from cluster_sim.serving.kv_cache.store_link import StoreLink
from cluster_sim.units import NS_PER_MS, NS_PER_S

_BANDWIDTHS: Final = {"lmcache": 3.0, "mooncake": 25.0}
_LATENCIES: Final = {"lmcache": 0.5, "mooncake": 0.03}
_GIB: Final = 2**30


class KvStoreOptions(ConfigModel):
    """A KV store that replicas share."""

    kind: Literal["lmcache", "mooncake"] = Field(
        "lmcache", description="Whose link is the default: LMCache's server over TCP, or Mooncake's store over RDMA."
    )
    capacity_gib: float = Field(
        512.0, gt=0, le=1e9, description="Memory for each layout of KV blocks (model, parallelism, precision), in GiB."
    )
    chunk_tokens: int = Field(256, ge=1, le=10**6, description="Tokens of a chunk, the unit of storing and finding.")
    bandwidth_gb_per_s: float | None = Field(
        None, gt=0, le=1e6, description="From the store to one replica, in GB/s; null is 3 (lmcache) or 25 (mooncake)."
    )
    latency_ms: float | None = Field(
        None, ge=0, le=MS_PER_DAY, description="Time before a load begins; null is 0.5 (lmcache) or 0.03 (mooncake)."
    )
    put_ms: float = Field(
        10.0, ge=0, le=MS_PER_DAY, description="Time from a prompt's first token at the router until it can be found."
    )
    saves_output: bool = Field(
        False, description="Whether generated tokens are stored too, when a request has ended (LMCache: no)."
    )

    def link(self, kv_bytes_per_token: int) -> StoreLink:
        """Return the link of a replica whose GPUs hold so many bytes of a token together."""
        bandwidth = (self.bandwidth_gb_per_s or _BANDWIDTHS[self.kind]) * 1e9
        latency_ms = _LATENCIES[self.kind] if self.latency_ms is None else self.latency_ms
        return StoreLink(round(latency_ms * NS_PER_MS), kv_bytes_per_token / bandwidth * NS_PER_S)

    def chunks(self, kv_bytes_per_token: int) -> int:
        """Return how many chunks of such tokens fit."""
        return max(1, int(self.capacity_gib * _GIB / (kv_bytes_per_token * self.chunk_tokens)))
