"""The cases of ``bench.py``: what is simulated, and on which executor.

``growth`` holds studies of two sizes, N and 4 N: their cost per request should be the same.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

Document = dict[str, Any]

LENGTHS: Final = {
    "prompt": {"kind": "lognormal", "mean": 1259, "std": 1535, "min": 2, "max": 7000},
    "output": {"kind": "lognormal", "mean": 222, "std": 201, "min": 7, "max": 1000},
}
"""After truncation these have the figures of the Azure conversation trace."""
SHORT: Final = {
    "prompt": {"kind": "uniform", "min": 100, "max": 400},
    "output": {"kind": "uniform", "min": 10, "max": 50},
}

ENGINE: Final[Document] = {
    "kind": "vllm_v1",
    "version": "0.15",
    "policy": "fcfs",
    "max_num_seqs": 1024,
    "max_num_batched_tokens": 8192,
    "max_model_len": 8192,
    "enable_chunked_prefill": True,
    "async_scheduling": True,
    "reserve_full_sequence": False,
    "enable_prefix_caching": False,
    "block_size": 16,
    "gpu_memory_utilization": 0.9,
    "num_kv_blocks": 27_210,
}
"""Every option that bears on speed is written out, so that a changed default does not change a case."""
PREDICTOR: Final[Document] = {"kind": "roofline", "jitter_ratio": 0.0}
LINEAR: Final[Document] = {
    "kind": "linear",
    "alpha_us": 5000.0,
    "beta_us": 5.0,
    "gamma_us": 0.01,
    "prefill_us": 500.0,
}
RUN: Final[Document] = {
    "stages": "fused",
    "macro_steps": True,
    "series_interval_s": 1.0,
    "event_trace": False,
    "warmup": {"kind": "none"},
    "measure": {"kind": "none"},
}
OVERLOAD: Final = 1200.0
"""Requests a second, about four times what one replica of ``growth`` serves."""


class Case(NamedTuple):
    """One case; ``document`` makes the study file's content from the trace, None if there is none."""

    executor: str
    document: Callable[[Path | None], Document]


def study(load: Document, policy: str, *, replicas: int = 8, **parts: Any) -> Document:
    """Return a study with every option written out; ``parts`` are further or other blocks, ``pool``, ``engine``,
    and ``link_ms``.
    """
    pool: Document = {"model": "llama-3-8b", "device": "h100-sxm", "replicas": replicas}
    pool |= {"engine": ENGINE | parts.pop("engine", {})} | parts.pop("pool", {})
    link_ms = parts.pop("link_ms", 0.5)
    router = {"policy": policy, "telemetry": {"period_ms": 50, "latency_ms": 1}, "ties": "first"}
    return {
        "workload": load,
        "fleet": {"pools": [pool], "network": {"router_to_replica_ms": link_ms, "replica_to_router_ms": link_ms}},
        "router": router | parts.pop("router", {}),
        "predictor": PREDICTOR,
        "run": RUN | parts.pop("run", {}),
        **parts,
    }


def azure(trace: Path | None, time_scale: float = 1.0) -> Document:
    """Return the Azure conversation trace as a workload, or a synthetic load with its mean figures."""
    if trace is not None:
        return {"kind": "trace", "format": "azure", "path": str(trace), "time_scale": time_scale}
    return synthetic(19_366, 5.53 / time_scale, LENGTHS)


def synthetic(count: int, rate: float, lengths: Document, **more: Any) -> Document:
    """Return Poisson arrivals."""
    arrivals = {"kind": "poisson", "request_rate": rate}
    return {"kind": "synthetic", "count": count, "arrivals": arrivals, "lengths": lengths} | more


def defaults(document: Document) -> Document:
    """Leave engine, predictor, ties and run to their defaults."""
    pools = [{key: value for key, value in pool.items() if key != "engine"} for pool in document["fleet"]["pools"]]
    router = {key: value for key, value in document["router"].items() if key != "ties"}
    kept = {key: value for key, value in document.items() if key not in ("predictor", "run")}
    return kept | {"fleet": document["fleet"] | {"pools": pools}, "router": router}


def _traced(policy: str, time_scale: float = 1.0, **parts: Any) -> Callable[[Path | None], Document]:
    return lambda trace: study(azure(trace, time_scale), policy, **parts)


def _fleet(policy: str, replicas: int, seconds: int, **parts: Any) -> Callable[[Path | None], Document]:
    """Return a fleet at 5 requests a second and replica."""
    return lambda _: study(
        synthetic(5 * replicas * seconds, 5.0 * replicas, LENGTHS), policy, replicas=replicas, **parts
    )


def _disaggregated(trace: Path | None) -> Document:
    document = study(azure(trace), "least_outstanding")
    (pool,) = document["fleet"]["pools"]
    prompts = pool | {"name": "prompts", "role": "prefill", "replicas": 3}
    answers = pool | {"name": "answers", "role": "decode", "replicas": 5}
    return document | {"fleet": document["fleet"] | {"pools": [prompts, answers]}}


_TRACED: Final[dict[str, Case]] = {
    "trace-inline": Case("inline", _traced("round_robin")),
    "trace-inline-least-outstanding": Case("inline", _traced("least_outstanding")),
    "trace-inline-defaults": Case("inline", lambda trace: defaults(study(azure(trace), "round_robin"))),
    "trace-inline-least-outstanding-defaults": Case(
        "inline", lambda trace: defaults(study(azure(trace), "least_outstanding"))
    ),
    "trace-inline-telemetry": Case("inline", _traced("least_loaded")),
    "trace-inline-prefix-caching": Case("inline", _traced("round_robin", engine={"enable_prefix_caching": True})),
    "trace-inline-pp-2": Case("inline", _traced("round_robin", pool={"pipeline_parallel": 2})),
    "trace-inline-pp-4": Case("inline", _traced("round_robin", pool={"pipeline_parallel": 4})),
    "one-replica": Case("inline", _traced("round_robin", 8.0, replicas=1)),
    "one-replica-sarathi": Case(
        "inline", _traced("round_robin", 8.0, replicas=1, pool={"engine": {"kind": "sarathi", "max_num_seqs": 128}})
    ),
    "overload": Case("inline", _traced("round_robin", 2.0, replicas=1)),
    "disaggregated": Case("inline", _disaggregated),
    "fleet-inline": Case("inline", _fleet("least_loaded", 1024, 10)),
    "fleet-ray-2-actors": Case("ray", _fleet("least_loaded", 1024, 10, run={"actors": 2})),
    "fleet-blind-inline": Case("inline", _fleet("round_robin", 1024, 10)),
    "fleet-blind-ray-2-actors": Case("ray", _fleet("round_robin", 1024, 10, run={"actors": 2})),
    "fleet-counts-inline": Case("inline", _fleet("least_outstanding", 1024, 10, link_ms=1.0)),
    "fleet-counts-ray-2-actors": Case("ray", _fleet("least_outstanding", 1024, 10, link_ms=1.0, run={"actors": 2})),
    "fleet-10000": Case("inline", _fleet("round_robin", 10_000, 2)),
    "trace-x10-inline": Case("inline", _traced("round_robin", 0.1)),
    "trace-x10-ray": Case("ray", _traced("round_robin", 0.1, run={"replicas_per_actor": 1})),
    "trace-x10-inline-telemetry": Case("inline", _traced("least_loaded", 0.1)),
    "trace-x10-ray-telemetry": Case("ray", _traced("least_loaded", 0.1, run={"replicas_per_actor": 1})),
}


def _small(load: Document, *, replicas: int = 1, router: Document | None = None, **engine: Any) -> Document:
    """Return one replica, or a few, with 64 slots and linear step times."""
    router = {"policy": "round_robin"} | (router or {})
    pool = {"engine": {"kind": "vllm_v1", "max_num_seqs": 64} | engine}
    return study(load, router["policy"], replicas=replicas, router=router, pool=pool) | {"predictor": LINEAR}


def _turns(turns: int, kind: str) -> Document:
    """Return conversations of ``turns`` turns that all fit the context."""
    load = {
        "kind": "sessions",
        "count": 10,
        "arrivals": {"kind": "poisson", "request_rate": 5.0},
        "lengths": {
            "prompt": {"kind": "uniform", "min": 8, "max": 16},
            "output": {"kind": "uniform", "min": 4, "max": 8},
        },
        "turns": {"kind": "fixed", "value": turns},
        "think_time_s": {"kind": "fixed", "value": 0.2},
    }
    document = _small(load, kind=kind, enable_prefix_caching=True, max_model_len=131_072)
    document["fleet"]["pools"][0]["model"] = "llama-3.1-8b"
    return document


def _ordered(count: int, policy: str, kind: str = "vllm_v1") -> Document:
    parts = [
        synthetic(count // 4, OVERLOAD / 4, SHORT, traits={"tenant": f"tenant-{index}", "priority": index})
        for index in range(4)
    ]
    return _small({"kind": "mix", "parts": parts}, kind=kind, policy=policy)


_ORDERS: Final = ("fcfs", "priority", "edf", "sjf", "predicted_sjf", "lrs", "st", "priority_aging", "vtc")

GROWTH: Final[dict[str, tuple[int, Callable[[int], Document]]]] = {
    "burst": (
        4000,
        lambda count: _small(synthetic(count, float("inf"), SHORT), replicas=8, router={"policy": "least_outstanding"}),
    ),
    "burst-round-robin": (4000, lambda count: _small(synthetic(count, float("inf"), SHORT), replicas=8)),
    "turns-vllm": (100, lambda turns: _turns(turns, "vllm_v1")),
    "turns-sglang": (100, lambda turns: _turns(turns, "sglang")),
    **{f"order-{policy}": (2000, lambda count, policy=policy: _ordered(count, policy)) for policy in _ORDERS},
    "order-lrs-sarathi": (2000, lambda count: _ordered(count, "lrs", "sarathi")),
    "time-outs": (
        2000,
        lambda count: _small(synthetic(count, OVERLOAD, SHORT), router={"client_timeout_s": 2.0}),
    ),
    "order-dfs-weight": (
        500,
        lambda count: _small(
            synthetic(count, OVERLOAD, SHORT, traits={"prefix": {"levels": [{"count": 60, "tokens": 500}]}}),
            kind="sglang",
            policy="dfs_weight",
        ),
    ),
    "idle-fleet": (250, lambda replicas: _small(synthetic(100, 0.2, SHORT), replicas=replicas)),
}
"""Size N and the study of a size; ``idle-fleet`` grows by its replicas."""

LARGER: Final = "-x4"
"""Ends the names of the larger cases."""


def _at(size: int, document: Callable[[int], Document]) -> Case:
    return Case("inline", lambda _: document(size))


CASES: Final[dict[str, Case]] = {
    **_TRACED,
    **{name: _at(size, document) for name, (size, document) in GROWTH.items()},
    **{name + LARGER: _at(4 * size, document) for name, (size, document) in GROWTH.items()},
}
