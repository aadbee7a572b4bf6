"""The ``predictor`` block: where step times come from."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from cluster_sim.config.base import ConfigModel, InputFile, LibraryEntry

ProfileName = Annotated[str, AfterValidator(LibraryEntry("profiles"))]


class PredictorBase(ConfigModel):
    """What every source of step times has."""

    max_extrapolated: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Highest share of step predictions outside measured regions; a run beyond it fails.",
    )


class RooflinePredictor(PredictorBase):
    """Step times from the device's data sheet and the model's shape; nothing is measured."""

    kind: Literal["roofline"] = Field("roofline", description="Data-sheet figures.")


class PhysicalPredictor(PredictorBase):
    """Step times from the physical step model with coefficients fitted to a real engine."""

    kind: Literal["physical"] = Field("physical", description="Calibrated physical step model.")
    profile: ProfileName = Field("vllm-explored", description="Frozen coefficients: a name of conf/profiles or a file.")


class VidurTablesPredictor(PredictorBase):
    """Step times exactly as Vidur composes them from its dense prediction tables."""

    kind: Literal["vidur_tables"] = Field("vidur_tables", description="Vidur's lookup tables.")
    directory: InputFile = Field(description="Folder of the tables.")
    prefix: str = Field(min_length=1, description="What the tables' file names begin with, up to the first full stop.")


Predictor = Annotated[RooflinePredictor | PhysicalPredictor | VidurTablesPredictor, Field(discriminator="kind")]
