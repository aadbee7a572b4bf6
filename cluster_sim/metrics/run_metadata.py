"""Run metadata: names and constants that the summary and the live metrics need beside the records."""

from dataclasses import dataclass

from cluster_sim.hardware.predictors.error_band import NO_BAND, ErrorBand
from cluster_sim.metrics.encoder_figures import EncoderMetadata
from cluster_sim.metrics.objectives import Slo


@dataclass(frozen=True, slots=True)
class PoolMetadata:
    """One pool of equal replicas, numbered consecutively over all pools."""

    name: str
    model: str
    device: str
    replicas: int
    gpus_per_replica: int
    price_usd_per_gpu_hour: float
    predictor_label: str
    """Source of the step times, for example "uncalibrated roofline"."""
    kv_blocks: int
    """Blocks of the KV cache of one replica."""
    max_model_tokens: int = 131_072
    """Longest context that its model serves."""
    block_size_tokens: int = 16
    max_num_seqs: int = 0
    stages: int = 1
    ranks: int = 1
    """Data-parallel ranks of one replica."""
    not_understood: tuple[str, ...] = ()
    """Keys of its model's file that change cost and were passed over."""
    left_out: tuple[str, ...] = ()
    """Parts of its model that are not modelled."""
    engine: str = ""
    """Kind of the serving engine."""
    has_prefix_cache: bool = False
    has_external_cache: bool = False
    """Whether prefixes are kept behind the device, in host memory or in a shared store."""
    draft_tokens: int = 0
    """Tokens of a draft that a decode step verifies; 0 without speculative decoding."""
    max_loras: int = 0
    """Adapters that a replica serves at once; 0 if it takes none."""
    has_static_batches: bool = False
    """Whether the requests of a batch stay together from its first step to its last."""
    predictor_choice: str = ""
    """Why the step times come from there, where the study left that open."""
    error_band: ErrorBand = NO_BAND
    """How far its figures may lie from those of a real engine."""
    role: str = ""
    site: str = ""
    forward_link_ns: int = 0
    """From the router to a replica."""
    return_link_ns: int = 0


@dataclass(frozen=True, slots=True)
class RunMetadata:
    """One run: its fleet in the order of the replicas' numbers, and its limits."""

    name: str
    seed: int
    pools: tuple[PoolMetadata, ...]
    slo: Slo
    end_ns: int = -1
    """End of the run, if the study says so."""
    chosen_model: str = ""
    """Model that the study chooses for requests that name none, where several are served."""
    has_faults: bool = False
    """Whether replicas, links or routers may fail, so that messages do not take the time of their links."""
    encoders: EncoderMetadata | None = None
    """Encoders apart from the replicas."""
    config_hash: str = ""
    """Of the study, for the tables that say whose they are; empty where none are written."""

    @property
    def default_model(self) -> str:
        """Model of requests that name none: the only one, or the chosen one; empty refuses these."""
        models = {pool.model for pool in self.pools}
        return self.pools[0].model if len(models) == 1 else self.chosen_model

    @property
    def replicas(self) -> int:
        """Replicas of all pools."""
        return sum(pool.replicas for pool in self.pools)

    @property
    def ranks(self) -> int:
        """Most data-parallel ranks that a replica has."""
        return max(pool.ranks for pool in self.pools)

    @property
    def max_model_tokens(self) -> int:
        """Longest context of all pools."""
        return max(pool.max_model_tokens for pool in self.pools)

    def pool_of_replica(self) -> list[int]:
        """Return the pool's index for every replica, in the order of the replicas' numbers."""
        return [index for index, pool in enumerate(self.pools) for _ in range(pool.replicas)]
