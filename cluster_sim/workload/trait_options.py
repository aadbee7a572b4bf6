"""Lengths and the further traits a workload gives its requests: who asks, shared prefixes, reasoning, images."""

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from cluster_sim.options import ConfigModel, InputFile
from cluster_sim.workload.sampling.options import Distribution


class TraitBase(ConfigModel):
    """What every part of a workload shares."""


class IndependentLengths(TraitBase):
    """Prompt and output lengths drawn from two independent distributions (or tied by a rank correlation)."""

    kind: Literal["independent"] = "independent"
    prompt: Distribution = Field(description="Prompt tokens; rounded, at least 1.")
    output: Distribution = Field(description="Output tokens; rounded, at least 1.")
    correlation: float = Field(
        default=0.0,
        ge=-1,
        le=1,
        description="Correlation of a Gaussian copula that joins the two while keeping each one's distribution.",
    )


class EmpiricalLengths(TraitBase):
    """Pairs of prompt and output lengths drawn together, with replacement, from a trace."""

    kind: Literal["empirical"]
    format: str = Field(default="auto", description="Format of the trace, as in a trace workload.")
    path: InputFile = Field(description="The trace.")
    first: int | None = Field(default=None, ge=1, description="Draw from its first rows only.")


class PairLengths(TraitBase):
    """Pairs of prompt and output lengths given in the study, drawn by weight: a joint histogram."""

    kind: Literal["joint"]
    prompt_tokens: tuple[int, ...] = Field(min_length=1, description="Prompt tokens of each pair.")
    output_tokens: tuple[int, ...] = Field(min_length=1, description="Output tokens of each pair.")
    weights: tuple[float, ...] | None = Field(default=None, description="Weight of each pair; equal when absent.")

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        if len(self.prompt_tokens) != len(self.output_tokens):
            raise ValueError("prompt_tokens and output_tokens must be as many")
        if min(self.prompt_tokens) < 1 or min(self.output_tokens) < 1:
            raise ValueError("tokens must be at least 1")
        if self.weights is not None:
            if len(self.weights) != len(self.prompt_tokens):
                raise ValueError("weights must be as many as pairs")
            if min(self.weights) < 0 or sum(self.weights) <= 0:
                raise ValueError("weights must not be negative and must not all be zero")
        return self


def _lengths_kind(value: Any) -> str:
    kind = value.get("kind", "independent") if isinstance(value, dict) else getattr(value, "kind", "independent")
    return str(kind)


Lengths = Annotated[
    Annotated[IndependentLengths, Tag("independent")]
    | Annotated[EmpiricalLengths, Tag("empirical")]
    | Annotated[PairLengths, Tag("joint")],
    Discriminator(_lengths_kind),
]
"""Prompt and output lengths; ``kind`` may be left out for independent ones."""


class PrefixLevel(TraitBase):
    """One level of a tree of shared prefixes."""

    count: int = Field(ge=1, le=1_000_000, description="Children of every node of the level above.")
    tokens: int = Field(ge=1, description="Tokens each child adds to the prompt.")
    zipf_alpha: float = Field(default=0.0, ge=0, description="Skew of the choice among children; 0 is uniform.")


class SharedPrefix(TraitBase):
    """Prompts start with a path through a tree of shared prefixes (system prompt, tools, documents)."""

    levels: tuple[PrefixLevel, ...] = Field(min_length=1, max_length=16, description="From the root down.")
    name: str = Field(
        default="", description="Workload parts with the same name share the tree; empty: a tree of this part alone."
    )
    added: bool = Field(
        default=True, description="True: the prefix comes on top of the drawn prompt; false: it is part of it."
    )


class Reasoning(TraitBase):
    """Part of the output is reasoning that the user does not see."""

    ratio: Distribution = Field(description="Reasoning share of the output tokens, cut to 0..1.")
    kept_in_context: bool = Field(
        default=False, description="Whether later turns of a session carry the reasoning in their prompt."
    )


class Multimodal(TraitBase):
    """Some requests carry images or other media that an encoder turns into tokens."""

    probability: float = Field(default=1.0, ge=0, le=1, description="Share of the requests with media.")
    items: Distribution = Field(description="Media items of such a request; rounded, at least 1.")
    tokens_per_item: Distribution = Field(description="Encoder tokens of one item; rounded, at least 1.")
    in_prompt: bool = Field(default=True, description="Whether the encoder tokens also lengthen the prompt.")


class Traits(TraitBase):
    """What requests carry besides lengths."""

    tenant: str = Field(default="", description="Who asks.")
    model: str = Field(default="", description="Model asked for; empty: the study's only model.")
    priority: int = Field(default=0, description="vLLM's convention: a lower value is more urgent.")
    slo_class: str = Field(default="", description="Service class, for limits and shares by class.")
    deadline_s: float | None = Field(default=None, gt=0, description="Deadline after arrival, seconds.")
    lora: str = Field(default="", description="LoRA adapter; empty: none.")
    lora_pool: int | None = Field(default=None, ge=1, description="Draw the adapter from lora-0 .. lora-(n-1).")
    lora_zipf_alpha: float = Field(default=0.0, ge=0, description="Skew of the choice among lora_pool.")
    prefix: SharedPrefix | None = Field(default=None, description="Shared prefixes.")
    reasoning: Reasoning | None = Field(default=None, description="Reasoning part of the output.")
    multimodal: Multimodal | None = Field(default=None, description="Media in the prompt.")
    length_hint_cv: float | None = Field(
        default=None,
        ge=0,
        description="The client predicts its output length with a lognormal error of this CV (0: none); absent: none.",
    )

    @model_validator(mode="after")
    def _one_lora(self) -> Self:
        if self.lora and self.lora_pool is not None:
            raise ValueError("give lora or lora_pool, not both")
        return self
