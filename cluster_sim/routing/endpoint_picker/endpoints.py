"""Endpoints: the figures of every candidate by position, as the endpoint picker sees them."""

from collections.abc import Sequence
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from cluster_sim.routing.candidates import Candidate, Candidates
from cluster_sim.routing.prefix_index.coverage import mask_of

Positions = NDArray[np.int64]
"""Positions of endpoints, ascending."""
Scores = NDArray[np.float64]
"""One score an endpoint, in the order of its position."""

Figure = TypeVar("Figure", np.int64, np.float64, np.bool_)
"""The type of one figure."""

_FIGURES: Final = (
    "waiting",
    "running",
    "kv_used",
    "in_flight",
    "in_flight_tokens",
    "unprefilled_tokens",
    "lora_slots",
    "lora_adapters",
    "block_size",
    "step_ns",
    "request_ns",
    "token_ns",
    "has_step_figures",
)
"""Arrays with one number an endpoint."""
ROLE_LABEL: Final = "llm-d.ai/role"
"""The label that llm-d reads an endpoint's role from."""


class Endpoints:
    """Sampled figures and own counts of every endpoint, in arrays indexed by position."""

    def __init__(self, candidates: Candidates) -> None:
        self._facts = candidates
        self.count = 0
        self.everybody: Positions = np.zeros(0, np.int64)
        self.waiting = np.zeros(0, np.int64)
        """Requests that wait there, as sampled."""
        self.running = np.zeros(0, np.int64)
        """Requests that run there, as sampled."""
        self.kv_used = np.zeros(0, np.float64)
        """Share of KV blocks in use there, as sampled."""
        self.in_flight = np.zeros(0, np.int64)
        """Requests sent there that have not come back, by own count."""
        self.in_flight_tokens = np.zeros(0, np.int64)
        """Prompt tokens of those that the picker did not find cached there."""
        self.unprefilled_tokens = np.zeros(0, np.int64)
        """Those of requests without a first token."""
        self.lora_slots = np.zeros(0, np.int64)
        """Adapters that one batch may use there."""
        self.lora_adapters = np.zeros(0, np.int64)
        """Adapters that are active or waiting there, as sampled."""
        self._adapters: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
        self._active: dict[str, int] = {}
        self._waiting: dict[str, int] = {}
        """Endpoints by adapter, as bits."""
        self.block_size = np.zeros(0, np.int64)
        """Tokens of a KV block there."""
        self.block_sizes: list[int] = []
        """The sizes that blocks have anywhere."""
        self.step_ns = np.zeros(0, np.float64)
        """Time of a decode step of an empty batch there."""
        self.request_ns = np.zeros(0, np.float64)
        """What each request of its batch adds."""
        self.token_ns = np.zeros(0, np.float64)
        """Time to compute one token of a prompt there."""
        self.has_step_figures = np.zeros(0, np.bool_)
        """Whether these three are known."""
        self.labels: list[dict[str, str]] = []
        """The labels of every endpoint, its role among them."""
        self.grow()

    @property
    def members(self) -> Sequence[Candidate]:
        """What stays the same about the endpoints."""
        return self._facts.members

    def grow(self) -> None:
        """Take in the endpoints that have joined since."""
        more = self._facts.count - self.count
        for name in _FIGURES:
            array = getattr(self, name)
            setattr(self, name, np.append(array, np.zeros(more, array.dtype)))
        for member in self.members[self.count :]:
            self._adapters.append(((), ()))
            self.labels.append({**member.labels, **({ROLE_LABEL: member.role} if member.role else {})})
            position = len(self.labels) - 1
            self.lora_slots[position] = member.lora_slots
            self.block_size[position] = member.block_size
            if member.step_figures is not None:
                self.has_step_figures[position] = True
                self.step_ns[position], self.request_ns[position], self.token_ns[position] = member.step_figures
        self.count = self._facts.count
        self.everybody = np.arange(self.count)
        self.block_sizes = [int(size) for size in np.unique(self.block_size)]

    def of(self, positions: Positions, figures: NDArray[Figure]) -> NDArray[Figure]:
        """Return the figures of some endpoints, not to be changed."""
        return figures if positions is self.everybody else figures[positions]

    def set_adapters(self, position: int, active: tuple[str, ...], waiting: tuple[str, ...]) -> None:
        """Take the adapters of running requests, and those of waiting ones that no running one has."""
        bit = 1 << position
        for adapters, before, after in zip(
            (self._active, self._waiting), self._adapters[position], (active, waiting), strict=True
        ):
            for adapter in before:
                adapters[adapter] ^= bit
            for adapter in after:
                adapters[adapter] = adapters.get(adapter, 0) | bit
        self._adapters[position] = (active, waiting)
        self.lora_adapters[position] = len(active) + len(waiting)

    def has_active(self, adapter: str) -> NDArray[np.bool_]:
        """Return for each endpoint whether a running request has the adapter."""
        return mask_of(self._active.get(adapter, 0), self.count)

    def has_waiting(self, adapter: str) -> NDArray[np.bool_]:
        """Return for each endpoint whether waiting requests, but no running one, have the adapter."""
        return mask_of(self._waiting.get(adapter, 0), self.count)
