"""The ``predictor`` block: where step times come from."""

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from cluster_sim.options import ConfigModel, InputFile, LibraryEntry

ProfileName = Annotated[str, AfterValidator(LibraryEntry("profiles"))]

MOST_US: Final = 1e9
"""Longest time that a coefficient may add to a step, 1,000 s, so that no step leaves what an instant holds."""
MOST_US_EACH: Final = 1e6
"""The same for each token, pair of tokens or sequence: 1 s."""


class PredictorBase(ConfigModel):
    """What every source of step times has."""

    max_extrapolated: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Highest share of step predictions outside measured regions; a run beyond it fails.",
    )
    jitter_ratio: float = Field(
        0.0, ge=0, le=0.3, description="Standard deviation of seeded noise on step times, over their mean; 0 is none."
    )


class RooflinePredictor(PredictorBase):
    """Step times from the device's data sheet and the model's shape; nothing is measured."""

    kind: Literal["roofline"] = Field("roofline", description="Data-sheet figures.")


class PhysicalPredictor(PredictorBase):
    """Step times from the physical step model with coefficients fitted to a real engine."""

    kind: Literal["physical"] = Field("physical", description="Calibrated physical step model.")
    profile: ProfileName = Field("vllm", description="Frozen coefficients: a name of conf/profiles or a file.")


class VidurTablesPredictor(PredictorBase):
    """Step times exactly as Vidur composes them from its dense prediction tables."""

    kind: Literal["vidur_tables"] = Field("vidur_tables", description="Vidur's lookup tables.")
    directory: InputFile = Field(description="Folder of the tables.")
    prefix: str = Field(min_length=1, description="What the tables' file names begin with, up to the first full stop.")


class TablePredictor(PredictorBase):
    """Step times composed and interpolated from measured operators."""

    kind: Literal["table"] = Field("table", description="Measured operator tables.")
    path: InputFile = Field(description="Operator profile (Parquet), as `cluster-sim profile import` writes it.")
    step_overhead_us: float = Field(0.0, ge=0, le=MOST_US, description="The engine's own time per step.")
    layer_overhead_us: float = Field(0.0, ge=0, le=MOST_US, description="Launch overhead per layer.")
    sequence_overhead_us: float = Field(
        0.0, ge=0, le=MOST_US_EACH, description="The engine's own time per sequence of a step."
    )
    frontend_us: float = Field(0.0, ge=0, le=MOST_US, description="Time in the API server per request.")
    frontend_us_per_token: float = Field(
        0.0, ge=0, le=MOST_US_EACH, description="Time in the API server per prompt token."
    )


class LinearPredictor(PredictorBase):
    """Step time = alpha + beta * tokens computed + gamma * cached tokens read; steps with a prefill add a constant."""

    kind: Literal["linear"] = Field("linear", description="Linear in tokens.")
    alpha_us: float = Field(gt=0, le=MOST_US, description="Every step, spread evenly over the stages.")
    beta_us: float = Field(0.0, ge=0, le=MOST_US_EACH, description="Per token computed.")
    gamma_us: float = Field(0.0, ge=0, le=MOST_US_EACH, description="Per cached token that decodes read.")
    prefill_us: float = Field(0.0, ge=0, le=MOST_US, description="Added once to a step that has a prefill.")
    prefill_pair_us: float = Field(
        0.0, ge=0, le=MOST_US_EACH, description="Per pair of a prefilled token and a token it attends to."
    )
    frontend_us: float = Field(0.0, ge=0, le=MOST_US, description="Time in the API server per request.")
    frontend_us_per_token: float = Field(
        0.0, ge=0, le=MOST_US_EACH, description="Time in the API server per prompt token."
    )


class SplitwisePredictor(PredictorBase):
    """Step times interpolated from Splitwise's performance model: whole prompt and token phases by tokens."""

    kind: Literal["splitwise"] = Field("splitwise", description="Splitwise's measured prompt and token times.")
    path: InputFile = Field(description="perf_model.csv, compressed or not.")
    measured_model: str = Field("llama2-70b", description="Value of the file's model column.")
    measured_hardware: str = Field("h100-80gb", description="Value of the file's hardware column.")


class TwoPhasePredictor(PredictorBase):
    """A server by three coefficients: prefill alpha * sum(prompts) + beta, then gamma for every decode step."""

    kind: Literal["two_phase"] = Field("two_phase", description="Alpha, beta and gamma of a whole server.")
    alpha_s_per_token: float = Field(0.001, ge=0, le=1, description="Prefill time per prompt token.")
    beta_s: float = Field(0.05, ge=0, le=1000, description="Prefill time per batch.")
    gamma_s_per_step: float = Field(0.0005, gt=0, le=1000, description="Time of one decode step.")


Predictor = Annotated[
    RooflinePredictor
    | PhysicalPredictor
    | TablePredictor
    | VidurTablesPredictor
    | LinearPredictor
    | SplitwisePredictor
    | TwoPhasePredictor,
    Field(discriminator="kind"),
]
