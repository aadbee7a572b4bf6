"""Layout of a replica's KV cache: what a connector must convert, and the bytes that it moves."""

from dataclasses import dataclass
from math import ceil

from cluster_sim.hardware.replica_hardware import ReplicaHardware
from cluster_sim.hardware.sharding import kv_dtype, shards
from cluster_sim.shown_values import counted


@dataclass(frozen=True, slots=True)
class KvLayout:
    """The cache of one replica over all its GPUs."""

    block_size: int
    dtype: str
    tensor_parallel: int
    pipeline_parallel: int
    layers: int
    """Layers that keep keys and values."""
    token_bytes: float
    """Bytes of one token over the replica's GPUs; heads that several GPUs repeat count on each."""

    def blocks(self, first_token: int, end_token: int) -> int:
        """Return the blocks that hold any of the tokens ``first_token <= i < end_token``."""
        return -(-end_token // self.block_size) - first_token // self.block_size

    def bytes_of(self, blocks: int) -> int:
        """Return the bytes of ``blocks`` blocks, which move whole."""
        return ceil(blocks * self.block_size * self.token_bytes)

    def descriptors(self, blocks: int) -> int:
        """Return the reads of one GPU: one for each block and layer; the GPUs read at once."""
        return blocks * -(-self.layers // self.pipeline_parallel)


def kv_layout(hardware: ReplicaHardware) -> KvLayout:
    """Return the layout of a replica; every tensor-parallel GPU of a stage holds an equal part."""
    model = hardware.model
    token_bytes = sum(part.kv_bytes_per_token for part in shards(hardware)) * hardware.tensor_parallel
    return KvLayout(
        block_size=hardware.engine.block_size,
        dtype=kv_dtype(model, hardware.engine.kv_cache_dtype),
        tensor_parallel=hardware.tensor_parallel,
        pipeline_parallel=hardware.pipeline_parallel,
        layers=sum(layer.mixer is not None and layer.mixer.keeps_tokens for layer in model.layers),
        token_bytes=token_bytes,
    )


def equality_refusal(prefill: KvLayout, decode: KvLayout) -> str:
    """Return why blocks cannot be copied as they are, beginning with the key at fault; "" if they can."""
    if prefill.block_size != decode.block_size:
        return (
            f"engine.block_size: blocks hold {counted(decode.block_size, 'token')} here and {prefill.block_size} in "
            "the prefill pool; the connector copies whole blocks, so they must be equal"
        )
    if prefill.dtype != decode.dtype:
        return (
            f"engine.kv_cache_dtype: the cache is {decode.dtype} here and {prefill.dtype} in the prefill pool; the "
            "connector copies bytes, so they must be equal"
        )
    return ""


def tensor_refusal(prefill: KvLayout, decode: KvLayout) -> str:
    """Return why heads cannot be split over the GPUs, beginning with the key at fault; "" if they can."""
    degrees = sorted((prefill.tensor_parallel, decode.tensor_parallel))
    if degrees[1] % degrees[0]:
        return (
            f"tensor_parallel: {counted(decode.tensor_parallel, 'GPU')} here and {prefill.tensor_parallel} in the "
            "prefill pool; the connector splits or joins the heads of whole GPUs, so one must divide the other"
        )
    return ""


def pipeline_refusal(prefill: KvLayout, decode: KvLayout) -> str:
    """Return why layers cannot be moved between stages, beginning with the key at fault; "" if they can."""
    if prefill.pipeline_parallel != decode.pipeline_parallel:
        return (
            f"pipeline_parallel: {counted(decode.pipeline_parallel, 'stage')} here and {prefill.pipeline_parallel} "
            "in the prefill pool; the connector joins each stage with the one of its number, so they must be equal"
        )
    return ""
