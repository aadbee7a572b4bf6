"""Ranking of fleets: prices, and what is best by the objective of a plan."""

from collections.abc import Mapping
from typing import Any

from cluster_sim.config.schema.plan import Objective
from cluster_sim.study.planning.evidence import FleetEvidence
from cluster_sim.study.planning.fleet_choice import Fleet, Layout
from cluster_sim.study.planning.proposals import Proposal


class Ranking:
    """Orders layouts by their estimates, and fleets by what was simulated; smaller is better."""

    def __init__(self, objective: Objective, by_layout: Mapping[Layout, Proposal]) -> None:
        self.objective = objective
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

    def usd_spent_per_hour(self, evidence: FleetEvidence) -> float:
        """Return the price of a fleet; with an autoscaler, that of the replicas that its runs had on average."""
        replicas = self._mean_gpus(evidence) / evidence.fleet.layout.gpus
        return replicas * self.proposal(evidence.fleet.layout).usd_per_replica_hour

    def _mean_gpus(self, evidence: FleetEvidence) -> float:
        """Return the GPUs of a fleet; with an autoscaler, those of its runs on average, without encoders."""
        mean = evidence.mean("mean_gpus")
        if evidence.fleet.bounds is None or not mean:
            return evidence.fleet.gpus
        return mean - (evidence.mean("encoders.gpus") or 0.0)

    def _most_gpus(self, evidence: FleetEvidence) -> int:
        """Return the GPUs of a fleet; with an autoscaler, the most that a run had at the same time."""
        most = evidence.most("most_gpus")
        if evidence.fleet.bounds is None or not most:
            return evidence.fleet.gpus
        return round(most - (evidence.mean("encoders.gpus") or 0.0))

    def price(self, evidence: FleetEvidence) -> float:
        """Return the price of a fleet, or its power if the objective is about energy."""
        if self.has_prices:
            return self.usd_spent_per_hour(evidence)
        return evidence.mean("energy.mean_power_w") or self._nominal_power_w(evidence.fleet)

    def _nominal_power_w(self, fleet: Fleet) -> float:
        return fleet.gpus / fleet.layout.gpus * self.proposal(fleet.layout).tdp_w

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
            "most_gpus": self._most_gpus(evidence),
            "usd_per_hour": usd,
            "usd_per_million_output_tokens": usd / (tokens * 3600) * 1e6 if tokens else None,
            "requests_per_s": mean("throughput.requests_per_s"),
            "output_tokens_per_s": tokens,
            "output_tokens_per_s_per_gpu": tokens / self._mean_gpus(evidence) if tokens is not None else None,
            "output_tokens_per_s_per_user": 1 / token_s if token_s else None,
            "good_requests_ratio": mean("slo.good_requests_ratio"),
            "good_requests_per_usd": good * 3600 / usd if good is not None and usd else None,
            "mean_power_w": power,
            "j_per_output_token": mean("energy.j_per_output_token"),
            "lost_requests_ratio": evidence.lost_ratio,
        }
