"""Linear step model: alpha + beta per computed token + gamma per cached token, as several simulators have it."""

from typing import ClassVar, Literal, Self

from pydantic import Field

from cluster_sim.hardware.predictors.affine import AffinePredictor
from cluster_sim.hardware.predictors.predictor_interface import MOST_US, MOST_US_EACH, PREDICTORS, PredictorOptions
from cluster_sim.hardware.replica_hardware import ReplicaHardware
from cluster_sim.units import NS_PER_US


class LinearOptions(PredictorOptions):
    """Step time = alpha + beta * tokens computed + gamma * cached tokens read; steps with a prefill add a constant."""

    example: ClassVar = {"alpha_us": 8000.0, "beta_us": 20.0}

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


@PREDICTORS.register("linear", LinearOptions)
class LinearPredictor(AffinePredictor):
    """A stage takes its even share of alpha + beta n + gamma kv (+ prefill constant + per query-key pair)."""

    reads_hardware: ClassVar = False

    models_ranks = True

    def __init__(self, options: LinearOptions, hardware: ReplicaHardware) -> None:
        super().__init__(hardware.pipeline_parallel, is_measured=True)
        self.label = "linear"
        self.is_calibrated = True
        self.frontend_ns = round(options.frontend_us * NS_PER_US)
        self.frontend_ns_per_token = options.frontend_us_per_token * NS_PER_US
        share = NS_PER_US / hardware.pipeline_parallel
        self._alpha, self._beta, self._gamma = (
            options.alpha_us * share,
            options.beta_us * share,
            options.gamma_us * share,
        )
        self._prefill, self._pair = options.prefill_us * share, options.prefill_pair_us * share

    @classmethod
    def build(cls, options: LinearOptions, hardware: ReplicaHardware) -> Self:
        """Return the predictor with the coefficients of a study's block."""
        return cls(options, hardware)

    def tokens_cost(self, tokens: int, stage: int) -> float:  # noqa: ARG002
        """Return alpha + beta n, ns."""
        return self._alpha + self._beta * tokens

    def sequences_cost(self, sequences: int, stage: int) -> float:  # noqa: ARG002
        """Return 0: nothing is counted by sequences."""
        return 0.0

    def kv_slopes(self, stage: int) -> tuple[float, float]:  # noqa: ARG002
        """Return gamma, ns per cached token."""
        return self._gamma, 0.0

    def chunk_cost(self, chunk_tokens: int, kv_tokens: int, stage: int) -> float:  # noqa: ARG002
        """Return the pairs of a causal chunk times their cost, ns."""
        return chunk_tokens * (kv_tokens + 0.5 * (chunk_tokens + 1)) * self._pair

    def mix_cost(self, stage: int) -> float:  # noqa: ARG002
        """Return the constant of a step with a prefill, ns."""
        return self._prefill
