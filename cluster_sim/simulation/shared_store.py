"""Shared KV store of a study: the pools that can use it, and the links of their replicas."""

from cluster_sim.errors import InputError
from cluster_sim.hardware.replica_hardware import ReplicaHardware
from cluster_sim.hardware.sharding import shards
from cluster_sim.routing.kv_store.options import KvStoreOptions
from cluster_sim.routing.kv_store.store import KvStore
from cluster_sim.serving.kv_cache.store_link import KvLayout, StoreLink
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.schedulers.engine_options import EngineOptions
from cluster_sim.serving.schedulers.vllm_options import VllmV1Options
from cluster_sim.simulation.simulation import Simulation


def kv_layout(hardware: ReplicaHardware) -> KvLayout:
    """Return what the KV blocks of a pool must share with those of another to be interchangeable."""
    tensor_parallel = hardware.tensor_parallel
    kv_bytes = sum(part.kv_bytes_per_token for part in shards(hardware)) * tensor_parallel
    return KvLayout(hardware.model.name, tensor_parallel, hardware.pipeline_parallel, round(kv_bytes))


def store_link(
    store: KvStoreOptions, engine: EngineOptions, hardware: ReplicaHardware, limits: SchedulerLimits
) -> StoreLink:
    """Return the link between the store and a replica of a pool.

    Raises InputError, which begins with a key of the pool, for an engine that is not modelled with a store.
    """
    if not isinstance(engine, VllmV1Options):
        raise InputError(f"engine.kind: {engine.kind} is not modelled with fleet.kv_store; use vllm_v1, or no store")
    if not engine.caches_prefixes:
        raise InputError(
            "engine.enable_prefix_caching: what fleet.kv_store loads goes into the prefix cache; set it to true, or "
            "use no store"
        )
    if engine.host_blocks:
        raise InputError(
            f"engine.host_blocks: {engine.host_blocks} blocks of host memory and fleet.kv_store are not modelled "
            "together; set 0, or use no store"
        )
    if limits.kv_groups is not None or hardware.model.state_layers:
        raise InputError(
            f"model: layers of {hardware.model.name} do not keep the whole context, which fleet.kv_store is not "
            "modelled with; use another model, or no store"
        )
    return store.link(kv_layout(hardware).kv_bytes_per_token)


def shared_store(options: KvStoreOptions, simulation: Simulation) -> KvStore:
    """Build the store of a run."""
    layouts = {pool.name: pool.kv_layout for pool in simulation.pools if pool.kv_layout is not None}
    return KvStore(options, layouts)
