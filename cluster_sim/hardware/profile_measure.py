"""Measuring the operators of a model: micro-benchmarks with PyTorch on a GPU, or with numpy on the CPU for tests.

Design: one layer's matrices of one tensor-parallel rank are allocated once and multiplied by every number of tokens;
attention runs over caches of every length and batch, a chunk of a prompt over the cache before it.  Each time is the
median of repeats after a warm-up; the GPU is timed with events around a group of launches.  The result is an operator
profile with the versions of driver and libraries.  Collectives need several GPUs and are not measured here; the
predictor takes them from the roofline.
"""

import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any, Protocol

import numpy as np

from cluster_sim.config.errors import InputError
from cluster_sim.hardware.model import Model
from cluster_sim.hardware.operator_profile import Measurement, OperatorProfile, ProfileInfo, make_profile
from cluster_sim.hardware.sharding import check_parallelism


@dataclass(frozen=True, slots=True)
class Grid:
    """What to measure."""

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


class Backend(Protocol):
    """The arithmetic to time."""

    name: str

    def versions(self) -> dict[str, str]:
        """Return driver and library versions."""

    def tensor(self, *shape: int) -> Any:
        """Return a matrix of small random numbers in the working dtype."""

    def matmul(self, left: Any, right: Any) -> Any:
        """Multiply."""

    def norm(self, values: Any) -> Any:
        """Apply a root-mean-square norm over the last axis."""

    def gate(self, values: Any) -> Any:
        """Apply SiLU to the first half of the last axis and multiply by the second."""

    def sample(self, logits: Any) -> Any:
        """Sort each row and take its cumulative probabilities, as top-p sampling does."""

    def attention(self, query: Any, key: Any, value: Any, is_causal: bool) -> Any:
        """Attend: query [batch, heads, tokens, width], key and value [batch, kv heads, length, width]."""

    def time_us(self, call: Callable[[], Any], repeats: int) -> float:
        """Return the median time of a call, us."""


def measure(
    model: Model, device_name: str, backend: Backend, tensor_parallel: int = 1, grid: Grid | None = None
) -> OperatorProfile:
    """Measure one rank's operators of ``model``; ``device_name`` is the library's name of the device that runs it.

    Raises InputError for degrees that do not divide, latent attention and experts, which are not measured.
    """
    check_parallelism(model, tensor_parallel, 1)
    if model.is_latent_attention or model.is_moe:
        raise InputError(f"{model.name}: measuring latent attention or experts is not supported; import a profile")
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


def backend_named(name: str) -> Backend:
    """Return ``torch`` (needs PyTorch and a GPU) or ``numpy``; InputError for anything else or what is missing."""
    if name == "numpy":
        return NumpyBackend()
    if name == "torch":
        return TorchBackend()
    raise InputError(f"unknown backend {name!r}; known: torch, numpy")


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
                yield Measurement("attention", timed(batch, 1, cached), decodes=batch, decode_kv_tokens=cached)
    for chunk in grid.chunks:
        for cached in (0, *grid.cached):
            yield Measurement("attention", timed(1, chunk, cached), prefill_tokens=chunk, prefill_kv_tokens=cached)


class NumpyBackend:
    """The CPU, in single precision: for tests and tiny shapes."""

    name = "numpy"

    def __init__(self) -> None:
        """Draw from a fixed seed."""
        self._random = np.random.default_rng(0)

    def versions(self) -> dict[str, str]:
        """Return numpy's and Python's versions and the processor."""
        return {"numpy": np.__version__, "python": platform.python_version(), "processor": platform.machine()}

    def tensor(self, *shape: int) -> Any:
        """Return small random numbers."""
        return self._random.standard_normal(shape, dtype=np.float32)

    def matmul(self, left: Any, right: Any) -> Any:
        """Multiply."""
        return left @ right

    def norm(self, values: Any) -> Any:
        """Apply a root-mean-square norm."""
        return values / np.sqrt(np.mean(values * values, axis=-1, keepdims=True) + 1e-6)

    def gate(self, values: Any) -> Any:
        """Apply SiLU and multiply."""
        first, second = np.split(values, 2, axis=-1)
        return first / (1.0 + np.exp(-first)) * second

    def sample(self, logits: Any) -> Any:
        """Sort and accumulate."""
        ordered = np.sort(logits, axis=-1)
        return np.cumsum(np.exp(ordered - ordered[:, -1:]), axis=-1)

    def attention(self, query: Any, key: Any, value: Any, is_causal: bool) -> Any:
        """Attend, with key and value heads repeated."""
        repeat = query.shape[1] // key.shape[1]
        key, value = np.repeat(key, repeat, axis=1), np.repeat(value, repeat, axis=1)
        scores = query @ key.swapaxes(-1, -2) / np.sqrt(query.shape[-1])
        if is_causal:
            tokens, length = scores.shape[-2:]
            scores += np.triu(np.full((tokens, length), -np.inf), 1 + length - tokens)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return weights @ value / weights.sum(axis=-1, keepdims=True)

    def time_us(self, call: Callable[[], Any], repeats: int) -> float:
        """Return the median of single calls by the process clock."""
        call()
        times = []
        for _ in range(repeats):
            started = time.perf_counter_ns()
            call()
            times.append(time.perf_counter_ns() - started)
        return median(times) / 1e3


class TorchBackend:
    """PyTorch in bfloat16 on the first GPU, or in single precision on the CPU where there is none."""

    name = "torch"

    def __init__(self) -> None:
        """Raise InputError when PyTorch is not installed."""
        try:
            import torch  # type: ignore[import-not-found,unused-ignore]
        except ImportError:
            raise InputError("measuring with torch needs PyTorch: install it, or use --backend numpy") from None
        self._torch: Any = torch
        self._is_gpu = torch.cuda.is_available()
        self._device = "cuda" if self._is_gpu else "cpu"
        self._dtype = torch.bfloat16 if self._is_gpu else torch.float32

    def versions(self) -> dict[str, str]:
        """Return PyTorch's and CUDA's versions and the GPU's name."""
        torch = self._torch
        found = {"torch": str(torch.__version__), "python": platform.python_version()}
        if self._is_gpu:
            found |= {"cuda": str(torch.version.cuda), "gpu": torch.cuda.get_device_name(0)}
        return found

    def tensor(self, *shape: int) -> Any:
        """Return small random numbers on the device."""
        return self._torch.randn(shape, device=self._device, dtype=self._dtype)

    def matmul(self, left: Any, right: Any) -> Any:
        """Multiply."""
        return left @ right

    def norm(self, values: Any) -> Any:
        """Apply a root-mean-square norm."""
        return values * self._torch.rsqrt(values.float().pow(2).mean(-1, keepdim=True) + 1e-6).to(values.dtype)

    def gate(self, values: Any) -> Any:
        """Apply SiLU and multiply."""
        first, second = values.chunk(2, dim=-1)
        return self._torch.nn.functional.silu(first) * second

    def sample(self, logits: Any) -> Any:
        """Sort and accumulate."""
        ordered = logits.float().sort(dim=-1).values
        return ordered.softmax(dim=-1).cumsum(dim=-1)

    def attention(self, query: Any, key: Any, value: Any, is_causal: bool) -> Any:
        """Attend with the fused kernel; a chunk over a cache attends to all of it, which costs at most the triangle."""
        is_square = query.shape[2] == key.shape[2]
        return self._torch.nn.functional.scaled_dot_product_attention(
            query, key, value, is_causal=is_causal and is_square, enable_gqa=query.shape[1] != key.shape[1]
        )

    def time_us(self, call: Callable[[], Any], repeats: int) -> float:
        """Return the median time: GPU events around each call, or the process clock on the CPU."""
        torch = self._torch
        with torch.no_grad():
            for _ in range(3):
                call()
            if not self._is_gpu:
                times = []
                for _ in range(repeats):
                    started = time.perf_counter_ns()
                    call()
                    times.append((time.perf_counter_ns() - started) / 1e3)
                return median(times)
            marks = [(torch.cuda.Event(True), torch.cuda.Event(True)) for _ in range(repeats)]
            for start, end in marks:
                start.record()
                call()
                end.record()
            torch.cuda.synchronize()
            return median(float(start.elapsed_time(end)) * 1e3 for start, end in marks)
