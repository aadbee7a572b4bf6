"""Backends that run the operators of a profile: PyTorch on a GPU, or numpy or PyTorch on the CPU for tests.

Design: on a GPU calls are replayed from a CUDA graph, so that launches do not count, after a write that empties the
last-level cache, whose own time is taken off: in an engine a layer never finds its weights there.
"""

import platform
import time
from collections.abc import Callable
from statistics import median
from typing import Any, Final, Protocol, cast

import numpy as np

from cluster_sim.errors import InputError

LARGEST_CACHE_BYTES: Final = 1 << 27
"""Last-level cache if the driver does not say."""
LEAST_US: Final = 0.1
"""Time of a kernel that takes no longer than the clock's noise."""

Matrix = Any
"""An array of the backend's own type: numpy's or PyTorch's."""


class Backend(Protocol):
    """The arithmetic to time."""

    name: str

    def versions(self) -> dict[str, str]:
        """Return driver and library versions."""

    def tensor(self, *shape: int) -> Matrix:
        """Return a matrix of small random numbers in the working dtype."""

    def matmul(self, left: Matrix, right: Matrix) -> Matrix:
        """Multiply."""

    def norm(self, values: Matrix) -> Matrix:
        """Apply a root-mean-square norm over the last axis."""

    def gate(self, values: Matrix) -> Matrix:
        """Apply SiLU to the first half of the last axis and multiply by the second."""

    def sample(self, logits: Matrix) -> Matrix:
        """Sort each row and take its cumulative probabilities, as top-p sampling does."""

    def attention(self, query: Matrix, key: Matrix, value: Matrix, is_causal: bool) -> Matrix:
        """Attend: query [batch, heads, tokens, width], key and value [batch, kv heads, length, width].

        Causal: the last query sees every key, each one before it a key less.
        """

    def time_us(self, call: Callable[[], object], repeats: int) -> float:
        """Return the median time of a call, us; MemoryError if it does not fit."""


def backend_named(name: str) -> Backend:
    """Return ``torch`` (needs PyTorch and a GPU) or ``numpy``; InputError for anything else or what is missing."""
    if name == "numpy":
        return NumpyBackend()
    if name == "torch":
        return TorchBackend()
    raise InputError(f"unknown backend {name!r}; known: torch, numpy")


class NumpyBackend:
    """The CPU, in single precision: for tests and tiny shapes."""

    name = "numpy"

    def __init__(self) -> None:
        """Draw from a fixed seed."""
        self._random = np.random.default_rng(0)

    def versions(self) -> dict[str, str]:
        """Return numpy's and Python's versions and the processor."""
        return {"numpy": np.__version__, "python": platform.python_version(), "processor": platform.machine()}

    def tensor(self, *shape: int) -> Matrix:
        """Return small random numbers."""
        return self._random.standard_normal(shape, dtype=np.float32)

    def matmul(self, left: Matrix, right: Matrix) -> Matrix:
        """Multiply."""
        return left @ right

    def norm(self, values: Matrix) -> Matrix:
        """Apply a root-mean-square norm."""
        return values / np.sqrt(np.mean(values * values, axis=-1, keepdims=True) + 1e-6)

    def gate(self, values: Matrix) -> Matrix:
        """Apply SiLU and multiply."""
        first, second = np.split(values, 2, axis=-1)
        return first / (1.0 + np.exp(-first)) * second

    def sample(self, logits: Matrix) -> Matrix:
        """Sort and accumulate."""
        ordered = np.sort(logits, axis=-1)
        return np.cumsum(np.exp(ordered - ordered[:, -1:]), axis=-1)

    def attention(self, query: Matrix, key: Matrix, value: Matrix, is_causal: bool) -> Matrix:
        """Attend, with key and value heads repeated."""
        repeat = query.shape[1] // key.shape[1]
        key, value = np.repeat(key, repeat, axis=1), np.repeat(value, repeat, axis=1)
        scores = query @ key.swapaxes(-1, -2) / np.sqrt(query.shape[-1])
        if is_causal:
            tokens, length = scores.shape[-2:]
            scores += np.triu(np.full((tokens, length), -np.inf), 1 + length - tokens)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return weights @ value / weights.sum(axis=-1, keepdims=True)

    def time_us(self, call: Callable[[], object], repeats: int) -> float:
        """Return the median of single calls by the process clock."""
        return _clocked_us(call, repeats)


class TorchBackend:
    """PyTorch in bfloat16 on the first GPU, or in single precision on the CPU if there is none."""

    name = "torch"

    def __init__(self) -> None:
        """Raise InputError when PyTorch is not installed."""
        try:
            import torch  # type: ignore[import-not-found,unused-ignore]
            from torch.nn.attention import bias  # type: ignore[import-not-found,unused-ignore]
        except ImportError:
            raise InputError("measuring with torch needs PyTorch: install it, or use --backend numpy") from None
        self._torch: Any = torch
        self._is_gpu = torch.cuda.is_available()
        self._device = "cuda" if self._is_gpu else "cpu"
        self._dtype = torch.bfloat16 if self._is_gpu else torch.float32
        self._lower_right: Any = bias.causal_lower_right
        if self._is_gpu:
            properties = torch.cuda.get_device_properties(0)
            cached_bytes = getattr(properties, "L2_cache_size", 0) or LARGEST_CACHE_BYTES
            self._scratch = torch.empty(2 * cached_bytes, device="cuda", dtype=torch.uint8)
            self._empty_cache = self._replayed(self._scratch.zero_)

    def versions(self) -> dict[str, str]:
        """Return PyTorch's and CUDA's versions and the GPU's name."""
        torch = self._torch
        found = {"torch": str(torch.__version__), "python": platform.python_version()}
        if self._is_gpu:
            found |= {"cuda": str(torch.version.cuda), "gpu": torch.cuda.get_device_name(0)}
        return found

    def tensor(self, *shape: int) -> Matrix:
        """Return small random numbers on the device."""
        try:
            return self._torch.randn(shape, device=self._device, dtype=self._dtype)
        except self._torch.OutOfMemoryError:
            raise MemoryError(f"no room for a tensor of {shape}") from None

    def matmul(self, left: Matrix, right: Matrix) -> Matrix:
        """Multiply."""
        return left @ right

    def norm(self, values: Matrix) -> Matrix:
        """Apply a root-mean-square norm."""
        return self._torch.nn.functional.rms_norm(values, values.shape[-1:], eps=1e-6)

    def gate(self, values: Matrix) -> Matrix:
        """Apply SiLU and multiply."""
        first, second = values.chunk(2, dim=-1)
        return self._torch.nn.functional.silu(first) * second

    def sample(self, logits: Matrix) -> Matrix:
        """Sort and accumulate."""
        ordered = logits.float().sort(dim=-1).values
        return ordered.softmax(dim=-1).cumsum(dim=-1)

    def attention(self, query: Matrix, key: Matrix, value: Matrix, is_causal: bool) -> Matrix:
        """Attend with the fused kernel."""
        mask = self._lower_right(query.shape[2], key.shape[2]) if is_causal else None
        return self._torch.nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, enable_gqa=query.shape[1] != key.shape[1]
        )

    def time_us(self, call: Callable[[], object], repeats: int) -> float:
        """Return the median time: of graph replays between GPU events, or by the process clock on the CPU."""
        torch = self._torch
        with torch.no_grad():
            if not self._is_gpu:
                return _clocked_us(call, repeats)
            try:
                cold_call = self._replayed(lambda: (self._scratch.zero_(), call()))
                marks = [[torch.cuda.Event(enable_timing=True) for _ in range(3)] for _ in range(repeats)]
                for start, between, end in marks:
                    start.record()
                    self._empty_cache()
                    between.record()
                    cold_call()
                    end.record()
                torch.cuda.synchronize()
            except torch.OutOfMemoryError:
                raise MemoryError("no room for the call's results") from None
        alone_ms = median(float(start.elapsed_time(between)) for start, between, _ in marks)
        both_ms = median(float(between.elapsed_time(end)) for _, between, end in marks)
        return max(LEAST_US, (both_ms - alone_ms) * 1e3)

    def _replayed(self, call: Callable[[], object]) -> Callable[[], object]:
        """Return the replay of a CUDA graph of a call, warmed up on a stream of its own as capturing requires; the call
        itself if it cannot be captured.
        """
        torch = self._torch
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                call()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                call()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:
            torch.cuda.synchronize()
            return call
        return cast("Callable[[], object]", graph.replay)


def _clocked_us(call: Callable[[], object], repeats: int) -> float:
    """Return the median of single calls by the process clock, after one that does not count, us."""
    call()
    times = []
    for _ in range(repeats):
        started = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - started)
    return median(times) / 1e3
