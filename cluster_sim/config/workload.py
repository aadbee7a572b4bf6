"""The ``workload`` block: where requests come from."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from cluster_sim.config.base import ConfigModel, InputFile


class Clip(ConfigModel):
    """Limits that a trace's lengths are cut to; a request above a limit is kept, shortened."""

    prompt_tokens: int | None = Field(None, ge=1, description="Longest prompt in tokens; null leaves prompts alone.")
    output_tokens: int | None = Field(None, ge=1, description="Longest output in tokens; null leaves outputs alone.")


class TraceWorkload(ConfigModel):
    """Requests read from a file."""

    kind: Literal["trace"] = Field("trace", description="Replay a file.")
    format: Literal["azure", "vidur", "parquet"] = Field(
        description="Layout of the file: azure (Azure/AzurePublicDataset, TIMESTAMP, ContextTokens, GeneratedTokens), "
        "vidur (arrived_at, num_prefill_tokens, num_decode_tokens), parquet (this program's own columns)."
    )
    path: InputFile = Field(description="The file, also gzip-compressed; looked up beside the study file first.")
    time_scale: float = Field(1.0, gt=0, description="Multiplies the gaps between arrivals: 0.1 is ten times the rate.")
    first: int | None = Field(None, ge=1, description="Only so many requests from the start; null takes all.")
    clip: Clip = Field(Clip(), description="Limits that lengths are cut to.")


class PoissonArrivals(ConfigModel):
    """Independent arrivals at a constant mean rate."""

    kind: Literal["poisson"] = Field("poisson", description="Exponential gaps.")
    rate_per_s: float = Field(gt=0, description="Mean arrivals per second.")


class GammaArrivals(ConfigModel):
    """Gamma-distributed gaps: burstier than Poisson above a coefficient of variation of 1, smoother below."""

    kind: Literal["gamma"] = Field("gamma", description="Gamma-distributed gaps.")
    rate_per_s: float = Field(gt=0, description="Mean arrivals per second.")
    cv_ratio: float = Field(1.0, gt=0, description="Standard deviation of the gaps over their mean; 1 is Poisson.")


class ConstantArrivals(ConfigModel):
    """Equal gaps."""

    kind: Literal["constant"] = Field("constant", description="Equal gaps.")
    rate_per_s: float = Field(gt=0, description="Arrivals per second.")


class FixedLength(ConfigModel):
    """Every request the same."""

    kind: Literal["fixed"] = Field("fixed", description="One length for all.")
    tokens: int = Field(ge=1, description="The length in tokens.")


class UniformLength(ConfigModel):
    """Every length in a range equally likely."""

    kind: Literal["uniform"] = Field("uniform", description="Equally likely lengths.")
    min_tokens: int = Field(ge=1, description="Smallest length in tokens.")
    max_tokens: int = Field(ge=1, description="Largest length in tokens, inclusive.")

    @model_validator(mode="after")
    def _check_order(self) -> "UniformLength":
        if self.max_tokens < self.min_tokens:
            raise ValueError(f"max_tokens ({self.max_tokens}) must be at least min_tokens ({self.min_tokens})")
        return self


class LognormalLength(ConfigModel):
    """Lengths whose logarithm is normal, given by the mean and spread of the lengths themselves."""

    kind: Literal["lognormal"] = Field("lognormal", description="Lognormal lengths, rounded and cut to the limits.")
    mean_tokens: float = Field(gt=0, description="Mean of the lengths before they are cut.")
    cv_ratio: float = Field(gt=0, description="Standard deviation of the lengths over their mean, before the cut.")
    min_tokens: int = Field(1, ge=1, description="Shorter draws are raised to this.")
    max_tokens: int | None = Field(None, ge=1, description="Longer draws are cut to this; null does not cut.")


Arrivals = Annotated[PoissonArrivals | GammaArrivals | ConstantArrivals, Field(discriminator="kind")]
Length = Annotated[FixedLength | UniformLength | LognormalLength, Field(discriminator="kind")]


class Lengths(ConfigModel):
    """How long prompts and outputs are; drawn independently."""

    prompt: Length = Field(description="Lengths of prompts.")
    output: Length = Field(description="Lengths of outputs.")


class SyntheticWorkload(ConfigModel):
    """Requests drawn from distributions."""

    kind: Literal["synthetic"] = Field("synthetic", description="Draw requests from distributions.")
    arrivals: Arrivals = Field(description="When requests arrive.")
    lengths: Lengths = Field(description="How long prompts and outputs are.")
    count: int | None = Field(None, ge=1, description="How many requests; null leaves the end to duration_s.")
    duration_s: float | None = Field(
        None, gt=0, description="Arrivals end after so many simulated seconds; null leaves the end to count."
    )

    @model_validator(mode="after")
    def _check_end(self) -> "SyntheticWorkload":
        if self.count is None and self.duration_s is None:
            raise ValueError("needs count or duration_s, else it never ends")
        return self


Workload = Annotated[TraceWorkload | SyntheticWorkload, Field(discriminator="kind")]
