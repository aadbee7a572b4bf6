"""A layer: a mixer, a feed-forward network, or both."""

from dataclasses import dataclass

from cluster_sim.hardware.layers.feed_forward import DenseNetwork, ExpertNetwork
from cluster_sim.hardware.layers.mixer import Mixer, Projection


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of a model."""

    mixer: Mixer | None
    network: DenseNetwork | ExpertNetwork | None

    @property
    def experts(self) -> ExpertNetwork | None:
        """The experts, where the layer has them."""
        return self.network if isinstance(self.network, ExpertNetwork) else None

    @property
    def halves(self) -> int:
        """Mixer and network count one each: each has its norm, its kernels and its all-reduce."""
        return (self.mixer is not None) + (self.network is not None)

    def projections(self) -> list[Projection]:
        """Return the weight matrices but for routers."""
        parts = (self.mixer, self.network)
        return [projection for part in parts if part is not None for projection in part.projections()]

    def small_parameters(self, hidden: int) -> int:
        """Return the norms, biases and convolutions, the experts' biases apart."""
        return self.halves * hidden + (self.mixer.small_parameters if self.mixer is not None else 0)

    @property
    def parameters(self) -> int:
        """Weights of matrices, routers and the experts' biases."""
        experts = self.experts
        small = experts.router_parameters + experts.bias_parameters if experts is not None else 0
        return sum(projection.parameters for projection in self.projections()) + small
