"""LoRA adapters: slots, and the loading of those that are in none.

A batch may use ``max_loras`` different adapters (vLLM's rule).  A waiting request whose adapter would be one too many
is deferred without stopping the admission of those behind it.  Slots keep the adapters used last; bringing in another
one takes ``load_ns``, during which the step waits.
"""

from collections.abc import Iterable

from pydantic import Field

from cluster_sim.options import MS_PER_DAY, ConfigModel
from cluster_sim.serving.sequence import Sequence
from cluster_sim.units import NS_PER_MS


class Lora(ConfigModel):
    """Adapters served beside the base model; a request names its own in the workload."""

    max_loras: int = Field(4, ge=1, le=100_000, description="Different adapters that one batch may use.")
    load_ms: float = Field(
        50.0, ge=0, le=MS_PER_DAY, description="Time to bring an adapter that is not in a slot onto the GPU."
    )


class LoraSlots:
    """The adapters of one engine."""

    def __init__(self, options: Lora) -> None:
        self._most = options.max_loras
        self._load_ns = round(options.load_ms * NS_PER_MS)
        self._running: dict[str, int] = {}
        """Running requests by adapter."""
        self._resident: dict[str, None] = {}
        """Adapters in slots, the one used longest ago first."""

    def can_run(self, adapter: str) -> bool:
        """Whether a request with ``adapter`` may join; the empty name is the base model."""
        return not adapter or adapter in self._running or len(self._running) < self._most

    def enter(self, adapter: str) -> int:
        """Count a request that starts to run; return the ns its first step waits for the adapter."""
        if not adapter:
            return 0
        assert self.can_run(adapter), f"adapter {adapter!r} is one too many"
        self._running[adapter] = self._running.get(adapter, 0) + 1
        is_resident = adapter in self._resident
        self._resident.pop(adapter, None)
        self._resident[adapter] = None
        if len(self._resident) > self._most:
            idle = next(name for name in self._resident if name not in self._running)
            del self._resident[idle]
        return 0 if is_resident else self._load_ns

    def leave(self, adapter: str) -> None:
        """Count a request out that no longer runs."""
        if not adapter:
            return
        self._running[adapter] -= 1
        if not self._running[adapter]:
            del self._running[adapter]

    def adapters(self, waiting: Iterable[Sequence]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the adapters of running requests, and those of waiting ones that no running one has, sorted."""
        wanted = {sequence.request.attributes.lora for sequence in waiting} - {""}
        return tuple(sorted(self._running)), tuple(sorted(wanted - self._running.keys()))
