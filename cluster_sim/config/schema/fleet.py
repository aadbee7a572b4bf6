"""The ``fleet`` block: pools of replicas and the links between router and replicas."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field, field_validator

from cluster_sim.config.schema.links import Node, PoolLink
from cluster_sim.config.schema.sites import Sites
from cluster_sim.hardware.interconnect.directions import NAME
from cluster_sim.options import LONGEST_RUN_S, MOST_GPUS, MS_PER_DAY, BoundedName, ConfigModel, DeviceName, ModelName
from cluster_sim.routing.encoding.options import EncoderOptions
from cluster_sim.routing.handover.connector_interface import HandoverBlock
from cluster_sim.routing.kv_store.options import KvStoreOptions
from cluster_sim.routing.roles import Role
from cluster_sim.routing.scaling.cold_start import ColdStart
from cluster_sim.serving.schedulers.engine_options import EngineBlock, engine_options
from cluster_sim.units import NS_PER_MS

MOST_REPLICAS = 100_000
"""Of one pool; each takes about 20 KB of memory in the process that simulates it."""


_LABEL_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_LABEL_PREFIX: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
_LONGEST_PREFIX: Final = 253


def _check_labels(labels: dict[str, str]) -> dict[str, str]:
    """Return labels that keep to the rules of Kubernetes (https://kubernetes.io/docs/concepts/overview/
    working-with-objects/labels/#syntax-and-character-set); raises ValueError for others.
    """
    for key, value in labels.items():
        prefix, slash, name = key.rpartition("/")
        if slash and not (len(prefix) <= _LONGEST_PREFIX and _LABEL_PREFIX.fullmatch(prefix)):
            raise ValueError(f"{key!r}: what stands before the slash must be a DNS name in lower case")
        for what, text in (("name", name), ("value", value)):
            if not (what == "value" and not text) and not _LABEL_NAME.fullmatch(text):
                raise ValueError(
                    f"{key!r}: a label's {what} has at most 63 letters, digits, '-', '_' and '.', and begins and ends "
                    f"with a letter or digit; got {text!r}"
                )
    return labels


Labels = Annotated[dict[str, str], AfterValidator(_check_labels)]


class Pool(ConfigModel):
    """Replicas that are all alike."""

    name: BoundedName = Field("main", pattern=f"^{NAME}$", description="Name of the pool; it labels rows and metrics.")
    model: ModelName = Field(description="Model served: a name of conf/models, or the path of a file of that layout.")
    device: DeviceName = Field(description="GPU: a name of conf/devices, or the path of a file of that layout.")
    replicas: int = Field(
        1,
        ge=0,
        le=MOST_REPLICAS,
        description="How many replicas, at the start where they come and go; 0 only then.",
    )
    role: Role | None = Field(
        None,
        description="Parts of a request that the pool computes; null is both, except for filters of an endpoint picker "
        "that tell pools without a role apart.",
    )
    labels: Labels = Field(
        {}, description="Labels of the replicas, as in Kubernetes, for policies that select by them."
    )
    site: BoundedName | None = Field(
        None, pattern=f"^{NAME}$", description="Site at which the replicas stand; null is the router's."
    )
    tensor_parallel: int = Field(
        1, ge=1, le=MOST_GPUS, description="GPUs that share each layer; must divide the attention heads."
    )
    pipeline_parallel: int = Field(
        1,
        ge=1,
        le=MOST_GPUS,
        description="Stages that share the layers; what is left over goes to the stages before the last.",
    )
    data_parallel: int = Field(
        1,
        ge=1,
        le=MOST_GPUS,
        description="Ranks of one replica that share the experts and step together, each with requests, slots, token "
        "budget and KV blocks (engine.num_kv_blocks of them) of its own.",
    )
    route_ranks: bool = Field(
        False,
        description="Whether each data-parallel rank is a target of the router, as with vLLM's hybrid or external load "
        "balancing; false leaves the choice of a rank to the engine, which takes the one with the fewest requests.",
    )
    expert_parallel: int = Field(
        1,
        ge=1,
        le=MOST_GPUS,
        description="GPUs of a stage over which whole experts are spread: tensor_parallel * data_parallel; 1 slices "
        "every expert over them.",
    )
    expert_imbalance_ratio: float = Field(
        1.0,
        ge=1,
        le=MOST_GPUS,
        description="Tokens of the busiest GPU's experts over those of the mean, with expert_parallel.",
    )
    power_cap_w: float | None = Field(
        None, gt=0, le=1e5, description="Most power that each GPU may draw, in watts; null is the board's own limit."
    )
    usd_per_gpu_hour: float | None = Field(
        None, ge=0, le=1e6, description="Price of one GPU for one hour, in USD; null is the price in the device's file."
    )
    node: Node | None = Field(
        None, description="Nodes on which the replicas run, and their links; null is as the device's file says."
    )
    checks_memory: bool = Field(
        True,
        description="Whether engine.num_kv_blocks must fit the GPUs beside the weights; false for what-if studies.",
    )
    engine: EngineBlock = Field(engine_options(), description="The serving engine of each replica.")
    cold_start: ColdStart = Field(
        ColdStart(), description="Time until a replica that joins during the run serves, part by part."
    )
    drain_grace_s: float = Field(
        30.0,
        ge=0,
        le=LONGEST_RUN_S,
        description="Time that a replica which is taken away has for the requests it holds (Kubernetes' "
        "terminationGracePeriodSeconds); what is left then fails or is tried again elsewhere.",
    )

    @property
    def gpus_per_replica(self) -> int:
        """GPUs of one replica."""
        return self.tensor_parallel * self.pipeline_parallel * self.data_parallel

    def gpus_of_node(self, device_gpus: int) -> int:
        """Return the GPUs of one node: the pool's own number, else ``device_gpus``, that of the device's file."""
        return (self.node.gpus if self.node is not None else None) or device_gpus


class Network(ConfigModel):
    """One-way delays between the router and the replicas at its own site; those at others are as much farther away."""

    router_to_replica_ms: float = Field(
        0.5, ge=0, le=MS_PER_DAY, description="From the router to a replica, in milliseconds."
    )
    replica_to_router_ms: float = Field(
        0.5, ge=0, le=MS_PER_DAY, description="From a replica to the router, in milliseconds."
    )

    @property
    def forward_ns(self) -> int:
        """The delay from the router to a replica in ns."""
        return round(self.router_to_replica_ms * NS_PER_MS)

    @property
    def return_ns(self) -> int:
        """The delay from a replica to the router in ns."""
        return round(self.replica_to_router_ms * NS_PER_MS)


class Fleet(ConfigModel):
    """Everything that serves."""

    pools: tuple[Pool, ...] = Field(min_length=1, description="The pools, in the order of their numbers.")
    handover: HandoverBlock | None = Field(
        None,
        description="How requests pass from prefill pools to decode pools; null is the connector of their engine.",
    )
    encoders: EncoderOptions | None = Field(
        None, description="Encoders of media apart from the replicas; null leaves encoder tokens to the replicas."
    )
    kv_store: KvStoreOptions | None = Field(
        None, description="A KV store that the replicas share, beside their own prefix caches; null is none."
    )
    network: Network = Field(Network(), description="Delays between router and replicas at one site.")
    links: tuple[PoolLink, ...] = Field(
        (), description="Links between pools that are not those of their nodes' networks, for transfers of KV cache."
    )
    sites: Sites | None = Field(None, description="Sites, and the routes between them; null is one site.")
    allow_unknown: bool = Field(
        False,
        description="Whether keys of a model's config.json that change cost and are not understood are passed over and "
        "named in the results, instead of refused.",
    )

    @field_validator("pools")
    @classmethod
    def _check_names(cls, pools: tuple[Pool, ...]) -> tuple[Pool, ...]:
        names = [pool.name for pool in pools]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two pools have the name {name!r}: give each its own")
        return pools
