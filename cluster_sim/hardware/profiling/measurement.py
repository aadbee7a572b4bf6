"""Measurement of the operators of a model: micro-benchmarks with PyTorch on a GPU, or with numpy on the CPU for tests.

Design: one layer's matrices of one tensor-parallel rank are allocated once and multiplied by every number of tokens;
attention runs over caches of every length and batch, a chunk of a prompt over the cache before it.  Each time is the
median of repeats after a warm-up (see ``backends.py``).  Shapes that the memory does not hold are left out.
The result is an operator profile with the versions of driver and libraries.  Collectives need several GPUs and are not
measured here; the predictor takes them from the link.  Caches are contiguous, not paged, and attention of prompts and
decodes in one call is not measured.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from cluster_sim.errors import InputError
from cluster_sim.hardware.model import Model
from cluster_sim.hardware.predictors.operator_profile import Measurement, OperatorProfile, ProfileInfo, make_profile
from cluster_sim.hardware.profiling.backends import Backend
from cluster_sim.hardware.replica_hardware import check_parallelism


@dataclass(frozen=True, slots=True)
class Grid:
    """Keys to measure, and repeats."""

    tokens: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 4096, 8192)
    sequences: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
    chunks: tuple[int, ...] = (16, 64, 128, 256, 512, 1024, 2048, 4096)
    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128, 256)
    cached: tuple[int, ...] = (16, 64, 256, 512, 1024, 2048, 4096, 8192, 16384)
    most_cached_tokens: int = 1 << 21
    """Largest batch times cache; what lies beyond is skipped."""
    repeats: int = 20


SMALL = Grid((1, 2, 4), (1, 2), (2, 4), (1, 2), (4, 8), 1 << 10, 3)
"""A grid for tests, of milliseconds."""


def measure(
    model: Model, device_name: str, backend: Backend, tensor_parallel: int = 1, grid: Grid | None = None
) -> OperatorProfile:
    """Measure one rank's operators of ``model``; ``device_name`` is the library's name of the device that runs it.

    Raises InputError for degrees that do not divide, latent attention and experts, which are not measured.
    """
    check_parallelism(model, tensor_parallel, 1)
    if model.is_latent_attention or model.is_moe or not model.is_uniform:
        raise InputError(
            f"{model.name}: measuring latent attention, experts or layers of several shapes is not supported; import a "
            "profile"
        )
    grid = grid or Grid()
    rows = [
        *_projections(model, backend, tensor_parallel, grid),
        *_sequences(model, backend, tensor_parallel, grid),
        *_attention(model, backend, tensor_parallel, grid),
    ]
    info = ProfileInfo(
        device=device_name,
        model=model.name,
        tensor_parallel=tensor_parallel,
        dtype=model.activation_dtype,
        engine=backend.name,
        source=f"cluster-sim profile measure ({backend.name})",
        versions=backend.versions(),
    )
    return make_profile(info, rows)


def _projections(model: Model, backend: Backend, tp: int, grid: Grid) -> Iterator[Measurement]:
    hidden, inner = model.hidden_size, model.intermediate_size // tp
    width = model.head_dim * model.num_attention_heads // tp
    kv_width = model.head_dim * -(-model.num_key_value_heads // tp)
    gates = 2 if model.is_gated_mlp else 1
    for name, rows, columns in (
        ("qkv_proj", hidden, width + 2 * kv_width),
        ("o_proj", width, hidden),
        ("gate_up_proj", hidden, gates * inner),
        ("down_proj", inner, hidden),
    ):
        weight = backend.tensor(rows, columns)
        for tokens in grid.tokens:
            x = backend.tensor(tokens, rows)
            us = backend.time_us(lambda x=x, weight=weight: backend.matmul(x, weight), grid.repeats)  # type: ignore[misc]
            yield Measurement(f"layer.{name}", us, tokens=tokens)
    for tokens in grid.tokens:
        x, gated = backend.tensor(tokens, hidden), backend.tensor(tokens, 2 * inner)
        norm_us = backend.time_us(lambda x=x: backend.norm(x), grid.repeats)  # type: ignore[misc]
        gate_us = backend.time_us(lambda gated=gated: backend.gate(gated), grid.repeats)  # type: ignore[misc]
        yield Measurement("layer.norm", norm_us, tokens=tokens, count=2)
        yield Measurement("layer.act", gate_us, tokens=tokens)


def _sequences(model: Model, backend: Backend, tp: int, grid: Grid) -> Iterator[Measurement]:
    head = backend.tensor(model.hidden_size, model.vocab_size // tp)
    for count in grid.sequences:
        x, logits = backend.tensor(count, model.hidden_size), backend.tensor(count, model.vocab_size)
        us = backend.time_us(lambda x=x: backend.matmul(x, head), grid.repeats)  # type: ignore[misc]
        yield Measurement("sequence.lm_head", us, sequences=count)
        us = backend.time_us(lambda logits=logits: backend.sample(logits), grid.repeats)  # type: ignore[misc]
        yield Measurement("sequence.sampler", us, sequences=count)


def _attention(model: Model, backend: Backend, tp: int, grid: Grid) -> Iterator[Measurement]:
    heads, kv_heads = model.num_attention_heads // tp, -(-model.num_key_value_heads // tp)

    def timed(batch: int, tokens: int, cached: int) -> float:
        query = backend.tensor(batch, heads, tokens, model.head_dim)
        key, value = (backend.tensor(batch, kv_heads, cached + tokens, model.head_dim) for _ in range(2))
        return backend.time_us(lambda: backend.attention(query, key, value, tokens > 1), grid.repeats)

    for batch in grid.batches:
        for cached in grid.cached:
            if batch * cached <= grid.most_cached_tokens:
                with suppress(MemoryError):
                    yield Measurement("attention", timed(batch, 1, cached), decodes=batch, decode_kv_tokens=cached)
    for chunk in grid.chunks:
        for cached in (0, *grid.cached):
            with suppress(MemoryError):
                yield Measurement("attention", timed(1, chunk, cached), prefill_tokens=chunk, prefill_kv_tokens=cached)
