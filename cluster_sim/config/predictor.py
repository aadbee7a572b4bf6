"""The ``predictor`` block: where step times come from."""

from typing import Annotated, Literal

from pydantic import Field

from cluster_sim.config.base import ConfigModel, InputFile


class RooflinePredictor(ConfigModel):
    """Step times from the device's data sheet and the model's shape; nothing is measured."""

    kind: Literal["roofline"] = Field("roofline", description="Data-sheet figures.")


class TablePredictor(ConfigModel):
    """Step times interpolated from measured operator tables."""

    kind: Literal["table"] = Field("table", description="Measured tables.")
    path: InputFile = Field(description="The profile to read.")


Predictor = Annotated[RooflinePredictor | TablePredictor, Field(discriminator="kind")]
