"""Two-phase server of llm-infer: alpha a prompt token and beta for a prefill, gamma for every decode step.

A batch of prompts P and outputs O takes alpha * sum(P) + beta + gamma * max(O).  A prefill that yields its first tokens
is also the first of the max(O) decode steps, so its step costs one gamma and max(O) - 1 steps follow.
"""

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from cluster_sim.errors import InputError
from cluster_sim.hardware.batch_shape import BatchShape, Int64Array
from cluster_sim.hardware.predictors.predictor_interface import PREDICTORS, MeasuredSteps, Predictor, PredictorOptions
from cluster_sim.hardware.replica_hardware import ReplicaHardware
from cluster_sim.units import NS_PER_S


class TwoPhaseOptions(PredictorOptions):
    """A server by three coefficients: prefill alpha * sum(prompts) + beta, then gamma for every decode step."""

    kind: Literal["two_phase"] = Field("two_phase", description="Alpha, beta and gamma of a whole server.")
    alpha_s_per_token: float = Field(0.001, ge=0, le=1, description="Prefill time per prompt token.")
    beta_s: float = Field(0.05, ge=0, le=1000, description="Prefill time per batch.")
    gamma_s_per_step: float = Field(0.0005, gt=0, le=1000, description="Time of one decode step.")


@PREDICTORS.register("two_phase", TwoPhaseOptions)
class TwoPhasePredictor(Predictor):
    """Step times that know nothing of a model or a device."""

    reads_hardware: ClassVar = False

    def __init__(self, options: TwoPhaseOptions, hardware: ReplicaHardware) -> None:
        """Raise InputError for degrees of parallelism, which the coefficients cannot express."""
        super().__init__()
        tensor_parallel, pipeline_parallel = hardware.tensor_parallel, hardware.pipeline_parallel
        if tensor_parallel > 1 or pipeline_parallel > 1:
            raise InputError(
                f"predictor.kind: two_phase has one coefficient set for the whole server, so tensor_parallel "
                f"{tensor_parallel} and pipeline_parallel {pipeline_parallel} must both be 1"
            )
        self.is_calibrated = True
        self.measured = MeasuredSteps.ALL
        self.label = "two-phase"
        self._alpha_ns = options.alpha_s_per_token * NS_PER_S
        self._beta_ns = options.beta_s * NS_PER_S
        self._gamma_ns = options.gamma_s_per_step * NS_PER_S

    @classmethod
    def build(cls, options: TwoPhaseOptions, hardware: ReplicaHardware) -> Self:
        """Return the predictor with the coefficients of a study's block."""
        return cls(options, hardware)

    def step_ns(self, shape: BatchShape, stage: int = 0) -> int:  # noqa: ARG002 - there is one stage
        """Return the duration of a step in ns."""
        step = 0.0
        if shape.prefills:
            step = self._alpha_ns * sum(chunk for chunk, _ in shape.prefills) + self._beta_ns
        if shape.decodes or shape.completed_prefills:
            step += self._gamma_ns
        return max(1, round(step))

    def decode_run_ns(self, decodes: int, kv_tokens: int, steps: int, stage: int = 0) -> Int64Array:  # noqa: ARG002
        """Return gamma for every step."""
        return np.full(steps, max(1, round(self._gamma_ns)), np.int64)

    def floor_ns(self, stage: int = 0) -> int:  # noqa: ARG002
        """Return the shorter of a decode step and an unfinished prefill of one token."""
        return max(1, round(min(self._gamma_ns, self._alpha_ns + self._beta_ns)))
