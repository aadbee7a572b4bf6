"""``plan.json`` and ``winner.yaml``: what a plan has learned, and the study of its best fleet."""

import json
from math import isfinite
from typing import Any, Final

from cluster_sim import __version__
from cluster_sim.config.loading.canonical import config_hash, study_text
from cluster_sim.config.schema.fleet import Pool
from cluster_sim.config.schema.study import Study
from cluster_sim.options import WritePath
from cluster_sim.shown_values import counted
from cluster_sim.simulation.plan import make_plan
from cluster_sim.study.planning.evidence import FleetEvidence
from cluster_sim.study.planning.fleet_choice import fleet_study
from cluster_sim.study.planning.planner import PlanResult
from cluster_sim.study.planning.proposals import Proposal
from cluster_sim.study.planning.screening import Screen

PLAN_FILE: Final = "plan.json"
WINNER_FILE: Final = "winner.yaml"

_FIRST_RUN: Final = (
    *(f"{metric}.{figure}" for metric in ("ttft_s", "tpot_s", "e2e_s") for figure in ("mean", "p50", "p90", "p99")),
    "requests.finished",
    "throughput.requests_per_s",
    "throughput.output_tokens_per_s",
    "cost_usd",
    "energy.energy_kwh",
)
"""Figures of the first run, by which a run of the winner's study is compared."""


def plan_document(result: PlanResult) -> dict[str, Any]:
    """Return the content of ``plan.json``: every candidate with its figures and its verdict, and the answer."""
    load = result.load
    return {
        "version": __version__,
        "name": result.base.name,
        "config_hash": config_hash(result.base),
        "seed": result.base.seed,
        "objective": result.ranking.objective,
        "load": {
            "unit": load.unit,
            "users": load.users,
            "sessions": load.sessions,
            "sessions_per_s": load.sessions_per_s,
            "requests": load.requests,
            "span_s": load.span_s,
            "requests_per_s": load.rate_per_s,
            "peak_requests_per_s": load.peak_rate_per_s,
            "waits_for_fleet": not load.is_open,
            "mean_prompt_tokens": load.prompt_tokens,
            "mean_output_tokens": load.output_tokens,
            "longest_request_tokens": load.longest_tokens,
        },
        "limits": {limit.name: limit.limit_s for limit in result.base.slo.all_limits()},
        "is_complete": result.is_complete,
        "runs": result.runs,
        "answer": _entry(result, result.best),
        "runner_up": _entry(result, result.runner_up),
        "other_scaling": _entry(result, result.other_scaling),
        "one_replica_fewer": _entry(result, result.smaller),
        "too_close": _entry(result, result.too_close),
        "disaggregated": _entry(result, result.disaggregated),
        "other_loads": [
            {"load": other.name, "fleet": _entry(result, other.evidence), "remark": other.remark or None}
            for other in result.other_loads
        ],
        "candidates": [_entry(result, evidence) for evidence in result.fleets],
        "layouts": [_layout(result, proposal) for proposal in result.proposals],
    }


def plan_text(document: dict[str, Any]) -> str:
    """Return the text of ``plan.json``."""
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def winner_study(base: Study, best: FleetEvidence) -> Study:
    """Return the study of a fleet; running it gives the figures of the fleet's first run."""
    return fleet_study(base, best.fleet)


def winner_text(base: Study, best: FleetEvidence, paths: WritePath = str) -> str:
    """Return the text of ``winner.yaml``; ``paths`` writes the files that it names."""
    return f"# {best.fleet.label}\n{study_text(winner_study(base, best), paths)}"


def winner_pools(base: Study, best: FleetEvidence) -> list[Pool]:
    """Return the pools of a fleet, their engines' defaults filled in."""
    return [planned.pool for planned in make_plan(winner_study(base, best)).pools]


def _entry(result: PlanResult, evidence: FleetEvidence | None) -> dict[str, Any] | None:
    """Return a fleet with its figures and its verdict; None for none."""
    if evidence is None:
        return None
    first = evidence.runs.get(0)
    return {
        "fleet": evidence.fleet.label,
        **evidence.fleet.to_dict(),
        "nodes_per_replica": result.ranking.proposal(evidence.fleet.layout).nodes,
        "verdict": evidence.verdict.value,
        "is_confirmed": evidence.is_confirmed,
        "runs": len(evidence.runs),
        "reason": evidence.reason or None,
        "has_error_band": evidence.has_error_band,
        "limits": [figure.to_dict() for figure in evidence.figures] if evidence.runs else [],
        "warm_up_s": evidence.most("window.start_s"),
        "whole_run_misses": [
            {"name": miss.name, "limit_s": miss.limit_s, "value_s": miss.value_s if isfinite(miss.value_s) else None}
            for miss in evidence.hidden_misses
        ],
        **result.ranking.figures(evidence),
        "first_run": None if first is None else {name: first.figures.get(name) for name in _FIRST_RUN},
    }


def _screened_reason(result: PlanResult, screen: Screen) -> str:
    """Return why a layout that might carry the load was not simulated, with what arithmetic says of it."""
    if screen.replicas is None:
        return screen.limited_by
    about = f"about {counted(screen.replicas, 'replica')} by arithmetic"
    if result.is_complete and result.best is not None and result.ranking.has_prices:
        return f"dearer than the answer: {about}"
    return f"needs {about}: {screen.limited_by}"


def _layout(result: PlanResult, proposal: Proposal) -> dict[str, Any]:
    """Return a layout with what became of it before or in the simulation."""
    screen = proposal.screen
    simulated = any(evidence.fleet.layout == proposal.layout for evidence in result.fleets)
    if screen is None:
        state, reason = "does_not_fit", proposal.error
    elif screen.is_out_of_reach:
        state, reason = "out_of_reach", screen.limited_by
    elif simulated:
        state, reason = "simulated", ""
    elif not result.is_allowed(proposal):
        state, reason = "beyond_constraints", "one replica is more than max_gpus or max_usd_per_hour allow"
    else:
        state = "screened" if result.is_complete else "not_reached"
        reason = _screened_reason(result, screen)
    return {
        "layout": proposal.layout.label,
        "device": proposal.layout.device,
        "gpus_per_replica": proposal.layout.gpus,
        "tensor_parallel": proposal.layout.tensor_parallel,
        "pipeline_parallel": proposal.layout.pipeline_parallel,
        "state": state,
        "reason": reason or None,
        "estimated_replicas": screen.replicas if screen is not None else None,
        "estimated_usd_per_hour": proposal.usd_per_hour if screen is not None and screen.replicas else None,
    }
