"""Small studies with prefill and decode pools."""

from typing import Any

from cluster_sim.config.schema.study import Study
from cluster_sim.routing.handover.connector_interface import CONNECTORS
from tests.actors.matrix import study_of

ENGINE_OF = {entry.name: entry.part.engine for entry in CONNECTORS.entries()}


def pool(role: str | None, engine: str = "vllm_v1", **changes: Any) -> dict[str, Any]:
    """Return a pool of two replicas in a tight cache."""
    options = changes.pop("engine_options", {})
    return {
        "name": str(role),
        "model": "llama-3-8b",
        "device": "h100-sxm",
        "role": role,
        "replicas": 2,
        "engine": {"kind": engine, "num_kv_blocks": 800, "block_size": 16, **options},
        **changes,
    }


def study(*pools: dict[str, Any], handover: dict[str, Any] | None = None, **parts: Any) -> Study:
    """Return a study of 120 requests on some pools, which has its rows kept."""
    lengths = {
        "prompt": {"kind": "lognormal", "mean": 1200, "std": 800, "min": 2, "max": 4000},
        "output": {"kind": "lognormal", "mean": 60, "std": 60, "min": 1, "max": 300},
    }
    defaults: dict[str, Any] = {
        "name": "handover",
        "seed": 3,
        "workload": {
            "kind": "synthetic",
            "count": 120,
            "arrivals": {"kind": "poisson", "request_rate": 30},
            "lengths": lengths,
        },
        "fleet": {"pools": list(pools), "handover": handover},
        "router": {"policy": "least_outstanding"},
        "predictor": {"kind": "roofline"},
        "run": {"series_interval_s": 0.5},
    }
    return study_of(**(defaults | parts))
