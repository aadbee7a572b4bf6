"""One study under every executor and placement, and what must be equal between them."""

import json
from pathlib import Path
from typing import Any

from actors.ray_executor import RayExecutor
from cluster_sim.config.schema.study import Study
from cluster_sim.options import BASE_DIRECTORY
from cluster_sim.simulation.inline import InlineExecutor
from cluster_sim.simulation.plan import make_plan
from tests.engine.in_memory import Choose, InMemoryExecutor
from tests.evidence import Evidence, evidence_of


def study_of(base: Path | None = None, **parts: Any) -> Study:
    """Return a checked study from its parts, as a study file would have them."""
    context = {BASE_DIRECTORY: base or Path.cwd()}
    return Study.model_validate_json(json.dumps(parts), strict=True, context=context)


def small_study(policy: str, pipeline_parallel: int = 1) -> Study:
    """Return a study of four replicas and 150 requests."""
    lengths = {
        "prompt": {"kind": "lognormal", "mean": 800, "std": 600, "min": 2, "max": 4000},
        "output": {"kind": "lognormal", "mean": 60, "std": 60, "min": 1, "max": 400},
    }
    return study_of(
        name="small",
        seed=3,
        workload={
            "kind": "synthetic",
            "count": 150,
            "arrivals": {"kind": "poisson", "request_rate": 30},
            "lengths": lengths,
        },
        fleet={
            "pools": [
                {
                    "name": "main",
                    "model": "llama-3-8b",
                    "device": "h100-sxm",
                    "replicas": 4,
                    "pipeline_parallel": pipeline_parallel,
                }
            ]
        },
        router={"policy": policy, "telemetry": {"period_ms": 50.0, "latency_ms": 1.0}},
        run={"series_interval_s": 0.5},
    )


def inline(study: Study) -> Evidence:
    """Run in this process, as the inline executor does."""
    return evidence_of(InlineExecutor(), make_plan(study).simulation())


def in_memory(study: Study, groups: list[list[int]], choose: Choose | None) -> Evidence:
    """Run in this process with replicas placed in groups, behind frames that random delays reorder.

    Without ``choose`` the groups are called directly.
    """
    executor = InlineExecutor(groups) if choose is None else InMemoryExecutor(groups, choose)
    return evidence_of(executor, make_plan(study).simulation())


def on_ray(study: Study, address: str | None = None, **run: Any) -> Evidence:
    """Run on Ray actors; ``run`` changes keys of the study's ``run`` block (actors, placement_seed, stages ...)."""
    settings = study.run.model_copy(update=run)
    return evidence_of(RayExecutor(settings, address), make_plan(study).simulation())
