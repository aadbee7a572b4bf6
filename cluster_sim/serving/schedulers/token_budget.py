"""Options of engines whose steps have a token budget."""

from dataclasses import replace
from typing import Self

from pydantic import Field

from cluster_sim.hardware.device import Device
from cluster_sim.hardware.engine_settings import EngineSettings
from cluster_sim.hardware.model import Model
from cluster_sim.options import MOST_ITEMS
from cluster_sim.serving.schedulers.engine_options import EngineOptions


class TokenBudgetOptions(EngineOptions):
    """An engine that limits the tokens of a step."""

    max_num_batched_tokens: int | None = Field(
        None,
        ge=1,
        le=MOST_ITEMS,
        description="Token budget of one step; null is pinned by the engine or the device's memory.",
    )

    @property
    def token_budget(self) -> int | None:
        """Most tokens of a step."""
        return self.max_num_batched_tokens

    def resolved(self, device: Device, model: Model) -> Self:
        """Return the options with every null replaced by what the engine itself would choose on ``device``."""
        tokens = self.max_num_batched_tokens or self.pinned_settings(device).max_num_batched_tokens
        return super().resolved(device, model).model_copy(update={"max_num_batched_tokens": tokens})

    def hardware_settings(self, device: Device) -> EngineSettings:
        """Return what memory and step times depend on."""
        settings = super().hardware_settings(device)
        return replace(settings, max_num_batched_tokens=self.max_num_batched_tokens or settings.max_num_batched_tokens)
