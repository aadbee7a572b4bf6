"""Options of engines that Vidur has too."""

from pydantic import Field

from cluster_sim.serving.schedulers.engine_options import EngineOptions


class VidurOptions(EngineOptions):
    """An engine that can be compared with Vidur's of the same name."""

    vidur_compat: bool = Field(
        False,
        description="Whether Vidur's known faults are reproduced: a restart in the middle of a prompt, memory that "
        "faster_transformer never frees, a queue that stalls after an eviction. For comparisons with Vidur.",
    )

    @property
    def has_vidur_faults(self) -> bool:
        """Whether Vidur's known faults are reproduced."""
        return self.vidur_compat
