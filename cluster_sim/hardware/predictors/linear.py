"""The linear form: alpha + beta per computed token + gamma per cached token, as several simulators have it."""

from cluster_sim.hardware.model import Model
from cluster_sim.hardware.predictors.affine import AffinePredictor
from cluster_sim.hardware.predictors.options import LinearPredictor as LinearConfig
from cluster_sim.hardware.sharding import check_parallelism
from cluster_sim.units import NS_PER_US


class LinearPredictor(AffinePredictor):
    """A stage takes its even share of alpha + beta n + gamma kv (+ prefill constant + per query-key pair)."""

    def __init__(
        self,
        config: LinearConfig,
        model: Model,
        tensor_parallel: int = 1,
        pipeline_parallel: int = 1,
    ) -> None:
        """Take the coefficients of a study's predictor block; InputError for impossible degrees."""
        super().__init__(pipeline_parallel, is_measured=True)
        check_parallelism(model, tensor_parallel, pipeline_parallel)
        self.label = "linear"
        self.is_calibrated = True
        self.frontend_ns = round(config.frontend_us * NS_PER_US)
        self.frontend_ns_per_token = config.frontend_us_per_token * NS_PER_US
        share = NS_PER_US / pipeline_parallel
        self._alpha, self._beta, self._gamma = config.alpha_us * share, config.beta_us * share, config.gamma_us * share
        self._prefill, self._pair = config.prefill_us * share, config.prefill_pair_us * share

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
