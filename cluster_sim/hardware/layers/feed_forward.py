"""Feed-forward networks: dense, or experts of which a router chooses some for each token."""

from dataclasses import dataclass

from cluster_sim.hardware.layers.mixer import Projection


@dataclass(frozen=True, slots=True)
class DenseNetwork:
    """One network that every token passes: gate, up and down projection, or up and down only."""

    hidden: int
    width: int
    matrices: int

    def projections(self) -> list[Projection]:
        """Return the matrices."""
        names = ("gate_proj", "up_proj", "down_proj")[-self.matrices :]
        return [Projection(f"mlp.{name}", "mlp", self.hidden * self.width) for name in names]

    @property
    def parameters(self) -> int:
        """Weights of the matrices."""
        return self.matrices * self.hidden * self.width


@dataclass(frozen=True, slots=True)
class ExpertNetwork:
    """Experts, and what every token passes beside them."""

    hidden: int
    experts: int
    experts_per_token: int
    width: int
    """Width of one expert."""
    matrices: int
    shared_width: int = 0
    """Width of all shared experts together, or of a dense network beside the experts."""
    latent: int = 0
    """Width to which tokens are reduced before the routed experts; 0: they have the full one."""
    has_bias: bool = False

    def projections(self) -> list[Projection]:
        """Return the matrices of routed and shared experts; the router is none of them."""
        names = ("gate_proj", "up_proj", "down_proj")[-self.matrices :]
        routed = self.experts * (self.latent or self.hidden) * self.width
        found = [Projection(f"mlp.experts.0.{name}", "experts", routed) for name in names]
        if self.shared_width:
            shared = self.hidden * self.shared_width
            found += [Projection(f"mlp.shared_experts.{name}", "shared_experts", shared) for name in names]
        if self.latent:
            reduced = self.hidden * self.latent
            found += [Projection(f"mlp.{name}", "shared_experts", reduced) for name in ("fc1_latent", "fc2_latent")]
        return found

    @property
    def expert_parameters(self) -> int:
        """Weights of one routed expert."""
        return self.matrices * (self.latent or self.hidden) * self.width

    @property
    def shared_parameters(self) -> int:
        """Weights that every token uses, but for the router."""
        return self.matrices * self.hidden * self.shared_width + 2 * self.hidden * self.latent

    @property
    def router_parameters(self) -> int:
        """Weights of the router."""
        return self.hidden * self.experts

    @property
    def bias_parameters(self) -> int:
        """Biases inside experts and router."""
        if not self.has_bias:
            return 0
        return self.experts * ((self.matrices - 1) * self.width + self.hidden) + self.experts
