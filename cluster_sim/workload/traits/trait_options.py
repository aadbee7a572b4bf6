"""Traits that a workload gives its requests: tenant, shared prefixes, adapters, reasoning, media, hints."""

from typing import Self

from pydantic import Field, model_validator

from cluster_sim.options import LONGEST_RUN_S, LOWEST_PRIORITY, MOST_ITEMS, BoundedName, ConfigModel
from cluster_sim.workload.sampling.distribution import Distribution


class PrefixLevel(ConfigModel):
    """One level of a tree of shared prefixes."""

    count: int = Field(ge=1, le=1_000_000, description="Children of every node of the level above.")
    tokens: int = Field(ge=1, le=MOST_ITEMS, description="Tokens each child adds to the prompt.")
    zipf_alpha: float = Field(default=0.0, ge=0, le=100, description="Skew of the choice among children; 0 is uniform.")


class SharedPrefix(ConfigModel):
    """Prompts start with a path through a tree of shared prefixes (system prompt, tools, documents)."""

    levels: tuple[PrefixLevel, ...] = Field(min_length=1, max_length=16, description="From the root down.")
    name: BoundedName = Field(
        default="", description="Workload parts with the same name share the tree; empty: a tree of this part alone."
    )
    added: bool = Field(
        default=True, description="True: the prefix comes on top of the drawn prompt; false: it is part of it."
    )


class Reasoning(ConfigModel):
    """Part of the output is reasoning that the user does not see."""

    ratio: Distribution = Field(description="Reasoning share of the output tokens, cut to 0..1.")
    kept_in_context: bool = Field(
        default=False, description="Whether later turns of a session carry the reasoning in their prompt."
    )


class Multimodal(ConfigModel):
    """Some requests carry images or other media that an encoder turns into tokens."""

    probability: float = Field(default=1.0, ge=0, le=1, description="Share of the requests with media.")
    items: Distribution = Field(description="Media items of such a request; rounded, at least 1.")
    tokens_per_item: Distribution = Field(description="Encoder tokens of one item; rounded, at least 1.")
    in_prompt: bool = Field(default=True, description="Whether the encoder tokens also lengthen the prompt.")


class Traits(ConfigModel):
    """Traits that requests carry besides lengths."""

    tenant: BoundedName = Field(default="", description="Who asks.")
    model: str = Field(default="", description="Model asked for; empty: the study's only model.")
    priority: int = Field(
        default=0,
        ge=-LOWEST_PRIORITY,
        le=LOWEST_PRIORITY,
        description="vLLM's convention: a lower value is more urgent.",
    )
    slo_class: BoundedName = Field(default="", description="Service class, for limits and shares by class.")
    deadline_s: float | None = Field(
        default=None, gt=0, le=LONGEST_RUN_S, description="Deadline after arrival, seconds."
    )
    lora: BoundedName = Field(default="", description="LoRA adapter; empty: none.")
    lora_pool: int | None = Field(
        default=None, ge=1, le=1_000_000, description="Draw the adapter from lora-0 .. lora-(n-1)."
    )
    lora_zipf_alpha: float = Field(default=0.0, ge=0, le=100, description="Skew of the choice among lora_pool.")
    prefix: SharedPrefix | None = Field(default=None, description="Shared prefixes.")
    reasoning: Reasoning | None = Field(default=None, description="Reasoning part of the output.")
    multimodal: Multimodal | None = Field(default=None, description="Media in the prompt.")
    length_hint_cv: float | None = Field(
        default=None,
        ge=0,
        le=100,
        description="The client predicts its output length with a lognormal error of this CV (0: none); absent: none.",
    )

    @model_validator(mode="after")
    def _check_lora(self) -> Self:
        if self.lora and self.lora_pool is not None:
            raise ValueError("give lora or lora_pool, not both")
        return self
