"""The two-phase server of llm-infer: alpha a prompt token and beta for a prefill, gamma for every decode step.

A batch of prompts P and outputs O takes alpha * sum(P) + beta + gamma * max(O).  A prefill that yields its first tokens
is also the first of the max(O) decode steps, so its step costs one gamma and max(O) - 1 steps follow.
"""

import numpy as np

from cluster_sim.errors import InputError
from cluster_sim.hardware.predictors.base import BatchShape, Int64Array, MeasuredSteps, Predictor
from cluster_sim.hardware.predictors.options import TwoPhasePredictor as TwoPhaseConfig
from cluster_sim.units import NS_PER_S


class TwoPhasePredictor(Predictor):
    """Step times that know nothing of a model or a device."""

    def __init__(self, config: TwoPhaseConfig, tensor_parallel: int = 1, pipeline_parallel: int = 1) -> None:
        """Raise InputError for degrees of parallelism, which the coefficients cannot express."""
        super().__init__()
        if tensor_parallel > 1 or pipeline_parallel > 1:
            raise InputError(
                f"predictor.kind: two_phase has one coefficient set for the whole server, so tensor_parallel "
                f"{tensor_parallel} and pipeline_parallel {pipeline_parallel} must both be 1"
            )
        self.is_calibrated = True
        self.measured = MeasuredSteps.ALL
        self.label = "two-phase"
        self._alpha_ns = config.alpha_s_per_token * NS_PER_S
        self._beta_ns = config.beta_s * NS_PER_S
        self._gamma_ns = config.gamma_s_per_step * NS_PER_S

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
