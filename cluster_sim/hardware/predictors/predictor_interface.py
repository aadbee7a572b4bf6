"""Predictor interface: the duration of a step of one pipeline stage, and the registry of the kinds.

``step_ns`` of a decode-only batch *is* ``decode_run_ns(..., steps=1)``: one elementwise kernel in one order of
operations, no BLAS, no fast-math, one rounding per step, so that fast-forwarded and single steps agree to the bit on
one CPU family.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Final

from pydantic import Field

from cluster_sim.hardware.batch_shape import BatchShape, Int64Array
from cluster_sim.hardware.predictors.error_band import NO_BAND, ErrorBand
from cluster_sim.hardware.replica_hardware import ReplicaHardware
from cluster_sim.options import ConfigModel
from cluster_sim.registry import Registry

MOST_US: Final = 1e9
"""Longest time that a coefficient may add to a step, 1,000 s, so that no step leaves what an instant holds."""
MOST_US_EACH: Final = 1e6
"""The same for each token, pair of tokens or sequence: 1 s."""


class PredictorOptions(ConfigModel):
    """Options that every predictor has; ``kind`` tells predictors apart."""

    kind: str
    max_extrapolated: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Highest share of step predictions outside measured regions; a run beyond it fails.",
    )
    jitter_ratio: float = Field(
        0.0, ge=0, le=0.3, description="Standard deviation of seeded noise on step times, over their mean; 0 is none."
    )


class MeasuredSteps(Enum):
    """The steps that lie inside the region in which a predictor's source was measured; all others are extrapolated."""

    ALL = "all"
    NONE = "none"
    SOME = "some"
    """Those that ``is_inside`` and ``steps_inside`` tell."""


class Predictor(ABC):
    """Predicts step durations for one (device, model, TP, PP, dtype, engine version).

    Answers are pure functions of their arguments, at least ``floor_ns(stage)``, and at least 1.
    """

    reads_hardware: ClassVar[bool] = True
    """Whether step times follow from model and device at all."""
    models_ranks: ClassVar[bool] = False
    """Whether it prices data-parallel ranks that share the experts of a replica."""
    models_imbalance: ClassVar[bool] = False
    """Whether it prices unevenly used experts."""
    models_links: ClassVar[bool] = False
    """Whether step times follow from the links between the GPUs of a replica."""
    models_eager: ClassVar[bool] = False
    """Whether it prices steps without CUDA graphs."""
    models_power_caps: ClassVar[bool] = False
    """Whether step times follow from the device's rates, which a power cap lowers."""
    stages: int = 1
    """Pipeline stages of the replica."""
    ranks: int = 1
    """Data-parallel ranks that step together."""
    measured: MeasuredSteps = MeasuredSteps.NONE
    is_calibrated: bool = False
    """False for data-sheet figures alone; the run's table then says "uncalibrated"."""
    label: str = ""
    """Shown in tables, for example "uncalibrated roofline"."""
    frontend_ns: int = 0
    """Constant time a request spends in the API server before the scheduler can see it."""
    frontend_ns_per_token: float = 0.0
    """The same, per prompt token."""
    choice: str = ""
    """Why this source was chosen, where the study left that open."""
    error_band: ErrorBand = NO_BAND
    """How far figures of a run may lie from those of a real engine."""

    @classmethod
    def build(cls, options: Any, hardware: ReplicaHardware) -> "Predictor":
        """Return the predictor that a study's block describes, for one rank of a replica; registered ones have it.

        Raises InputError for files that are missing or wrong, and for hardware that it cannot predict.
        """
        raise NotImplementedError(f"{cls.__name__} is not made from a study")

    @abstractmethod
    def step_ns(self, shape: BatchShape, stage: int = 0) -> int:
        """Return the duration of one step of ``stage`` in ns."""

    @abstractmethod
    def decode_run_ns(self, decodes: int, kv_tokens: int, steps: int, stage: int = 0) -> Int64Array:
        """Return the durations of ``steps`` consecutive decode-only steps, int64[steps].

        Step i runs with ``decodes`` requests and ``kv_tokens + i * decodes`` tokens in the cache.
        """

    def joint_run_ns(self, loads: Sequence[tuple[int, int]], steps: int) -> Int64Array | None:  # noqa: ARG002
        """Return the durations of ``steps`` decode-only steps that data-parallel ranks make together, int64[steps].

        ``loads`` has the requests of each rank with work and their tokens in the cache.  None if there are no ranks,
        or only ``step_ns`` can tell.
        """
        return None

    def is_inside(self, shape: BatchShape, stage: int = 0) -> bool:  # noqa: ARG002
        """Return whether a step of one rank lies inside the measured region."""
        return self.measured is MeasuredSteps.ALL

    def steps_inside(self, decodes: int, kv_tokens: int, steps: int, stage: int = 0) -> int:  # noqa: ARG002
        """Return how many of ``steps`` consecutive decode-only steps lie inside the measured region."""
        return steps if self.measured is MeasuredSteps.ALL else 0

    @abstractmethod
    def floor_ns(self, stage: int = 0) -> int:
        """Return a lower bound of every step of ``stage`` (d_min): tight floors are lookahead."""

    def stage_link_ns(self, tokens: int, stage: int) -> int:  # noqa: ARG002 - subclasses use them
        """Return the time to send the activations of ``tokens`` tokens from ``stage`` to the next; >= 0."""
        return 0


PREDICTORS: Final = Registry[type[Predictor]](
    "predictor", "cluster_sim.hardware.predictors.kinds", "cluster_sim.predictors", default="auto"
)
"""Predictors by the kind that a study names."""

if TYPE_CHECKING:
    PredictorBlock = PredictorOptions
else:
    PredictorBlock = PREDICTORS.annotation()
