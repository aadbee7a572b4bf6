"""Checks of a pool's engine against what the real engine accepts and what its GPUs hold."""

from cluster_sim.config.schema.fleet import Pool
from cluster_sim.errors import InputError
from cluster_sim.hardware.memory_plan import MIB, most_kv_blocks
from cluster_sim.hardware.replica_hardware import ReplicaHardware
from cluster_sim.options import listed
from cluster_sim.serving.schedulers.engine_options import EngineOptions
from cluster_sim.shown_values import by_number
from cluster_sim.units import GIB


def check_engine(pool: Pool, engine: EngineOptions, hardware: ReplicaHardware, *, reads_hardware: bool) -> None:
    """Raise InputError, which begins with a key of the pool, for a version or block size that the engine has not, or KV
    blocks that no GPU of the device holds beside its weights, if step times follow from the hardware at all.
    """
    _check_version(engine)
    sizes = engine.block_sizes
    # A model with states fixes the size of a block itself.
    if sizes and engine.block_size not in sizes and engine.block_size == pool.engine.block_size:
        known = listed([str(size) for size in sorted(sizes)])
        raise InputError(f"engine.block_size: {engine.kind} has blocks of {known} tokens; got {engine.block_size}")
    if engine.num_kv_blocks is None or not pool.checks_memory or not reads_hardware:
        return
    most, block_bytes = most_kv_blocks(hardware)
    if engine.num_kv_blocks > most:
        device = hardware.device
        count = engine.num_kv_blocks
        raise InputError(
            f"engine.num_kv_blocks: {count} {by_number(count, 'block', 'blocks')} of {block_bytes / MIB:.3g} MiB "
            f"{by_number(count, 'is', 'are')} more than the {max(most, 0)} that the "
            f"{device.memory_bytes / GIB:.1f} GiB of {device.name} hold beside the weights of {hardware.model.name}; "
            "leave it out to take what fits, or set checks_memory: false"
        )


def _check_version(engine: EngineOptions) -> None:
    if engine.versions is None:
        return
    first, last = engine.versions
    if not _numbers(first) <= _numbers(engine.version) <= _numbers(last):
        raise InputError(
            f"engine.version: {engine.kind} is modelled from version {first} to {last}; got {engine.version}"
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
