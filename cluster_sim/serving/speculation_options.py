"""The ``engine.speculative`` and ``engine.lora`` blocks: drafts and adapters."""

from typing import Literal

from pydantic import Field, field_validator

from cluster_sim.options import ConfigModel


class Speculative(ConfigModel):
    """Speculative decoding: every decode step verifies drafts beside its own token."""

    method: Literal["draft_model", "ngram", "mtp"] = Field("draft_model", description="Where drafts come from.")
    num_speculative_tokens: int = Field(3, ge=1, le=32, description="Drafts per sequence and step.")
    acceptance: tuple[float, ...] = Field(
        (0.7,),
        description="Probability that the draft at each position is accepted, given that all before it were; the last "
        "one holds for every further position.",
    )
    draft_ms: float = Field(
        0.0, ge=0, description="Time of one forward pass of the drafter, per draft position, in milliseconds."
    )

    @field_validator("acceptance")
    @classmethod
    def _check_acceptance(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not value or not all(0 <= each <= 1 for each in value):
            raise ValueError("must name at least one probability from 0 to 1")
        return value


class Lora(ConfigModel):
    """Adapters served beside the base model; a request names its own in the workload."""

    max_loras: int = Field(4, ge=1, description="Different adapters that one batch may use.")
    load_ms: float = Field(50.0, ge=0, description="Time to bring an adapter that is not in a slot onto the GPU.")
