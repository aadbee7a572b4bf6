"""Routing policies, one module a family, chosen by ``router.policy``; importing the package registers them all."""

from cluster_sim.routing.policies import blind, outstanding, telemetry
from cluster_sim.routing.policies.base import POLICIES, Candidates, Policy

__all__ = ["POLICIES", "Candidates", "Policy", "blind", "outstanding", "telemetry"]
