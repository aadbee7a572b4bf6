"""Ranking of fleets: prices, and what is best by the objective of a plan."""

from collections.abc import Mapping
from typing import Any

from cluster_sim.config.schema.plan import Objective
from cluster_sim.study.planning.evidence import FleetEvidence
from cluster_sim.study.planning.fleet_choice import Fleet, Layout
from cluster_sim.study.planning.proposals import Proposal


class Ranking:
    """Orders layouts by their estimates, and fleets by what was simulated; smaller is better."""

    def __init__(self, objective: Objective, by_layout: Mapping[Layout, Proposal], *, has_scaler: bool = False) -> None:
        """``has_scaler`` tells that an autoscaler decides how many replicas a run has, and so what it costs."""
        self.objective = objective
        self._has_scaler = has_scaler
        self._by_layout = by_layout

    @property
    def has_prices(self) -> bool:
        """Whether a dearer fleet cannot be better, so that it need not be simulated."""
        return self.objective in ("cost", "goodput_per_usd")

    def proposal(self, layout: Layout) -> Proposal:
        """Return what is known of a layout beforehand, whatever tunes it."""
        return self._by_layout[layout.plain]

    def estimated(self, proposal: Proposal, correction: float = 1.0) -> float:
        """Return the price of the fleet that a layout probably needs, or its power.

        ``correction`` is the factor by which arithmetic was off for a fleet that was simulated.
        """
        each = proposal.usd_per_replica_hour if self.has_prices else proposal.tdp_w
        return proposal.replicas(correction) * each

    def usd_per_hour(self, fleet: Fleet) -> float:
        """Return the price of a fleet."""
        return fleet.size * self.proposal(fleet.layout).usd_per_replica_hour

    def usd_spent_per_hour(self, evidence: FleetEvidence) -> float:
        """Return the price of a fleet; with an autoscaler, what its runs cost on average."""
        figures = ("cost_usd", "window.start_s", "window.end_s")
        cost, start_s, end_s = map(evidence.mean, figures)
        if not self._has_scaler or cost is None or start_s is None or end_s is None or end_s <= start_s:
            return self.usd_per_hour(evidence.fleet)
        return cost / (end_s - start_s) * 3600

    def _mean_gpus(self, evidence: FleetEvidence) -> float:
        """Return the GPUs of a fleet over time, which an autoscaler changes."""
        nominal = self.usd_per_hour(evidence.fleet)
        return evidence.fleet.gpus * (self.usd_spent_per_hour(evidence) / nominal if nominal else 1.0)

    def price(self, evidence: FleetEvidence) -> float:
        """Return the price of a fleet, or its power if the objective is about energy."""
        if self.has_prices:
            return self.usd_spent_per_hour(evidence)
        return evidence.mean("energy.mean_power_w") or evidence.fleet.size * self.proposal(evidence.fleet.layout).tdp_w

    def key(self, evidence: FleetEvidence) -> tuple[float, float, float]:
        """Return what orders fleets: the objective, then the price, then the distance from the limits."""
        price = self.price(evidence)
        if self.objective in ("goodput_per_usd", "goodput_per_joule"):
            goodput = evidence.mean("slo.good_requests_per_s") or 0.0
            return (-goodput / price if price else 0.0, price, evidence.ratio)
        return (price, self.usd_spent_per_hour(evidence), evidence.ratio)

    def figures(self, evidence: FleetEvidence) -> dict[str, Any]:
        """Return what a fleet gives and costs, by means over its runs; None for what no run has."""
        fleet, mean = evidence.fleet, evidence.mean
        usd = self.usd_spent_per_hour(evidence)
        tokens, token_s = mean("throughput.output_tokens_per_s"), mean("tpot_s.mean")
        good = mean("slo.good_requests_per_s")
        power = mean("energy.mean_power_w")
        return {
            "gpus": fleet.gpus,
            "mean_gpus": self._mean_gpus(evidence),
            "usd_per_hour": usd,
            "usd_per_million_output_tokens": usd / (tokens * 3600) * 1e6 if tokens else None,
            "requests_per_s": mean("throughput.requests_per_s"),
            "output_tokens_per_s": tokens,
            "output_tokens_per_s_per_gpu": tokens / fleet.gpus if tokens is not None else None,
            "output_tokens_per_s_per_user": 1 / token_s if token_s else None,
            "good_requests_ratio": mean("slo.good_requests_ratio"),
            "good_requests_per_usd": good * 3600 / usd if good is not None and usd else None,
            "mean_power_w": power,
            "j_per_output_token": mean("energy.j_per_output_token"),
            "lost_requests_ratio": evidence.lost_ratio,
        }
