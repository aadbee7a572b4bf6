"""Studies that the mean-field estimate covers; all others are refused, with the key that it does not cover."""

from collections.abc import Iterator
from typing import Final

from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError
from cluster_sim.routing.policies.weighted import WeightedOptions
from cluster_sim.simulation.plan import Plan, PoolPlan
from cluster_sim.workload.build import reacts
from cluster_sim.workload.columns import Columns

ENGINES_COVERED: Final = ("vllm_v1", "sglang", "sarathi", "vllm_v0")
BLIND_POLICIES: Final = ("round_robin", "random", "weighted")
"""They spread requests evenly, or by weights, whatever the replicas are."""
EVEN_POLICIES: Final = (
    *BLIND_POLICIES,
    *("least_outstanding", "least_loaded", "least_tokens", "least_kv", "least_waiting"),
    *("power_of_two", "ray_serve_power_of_two"),
)
"""They do so among equal replicas."""


def check_covered(study: Study, plan: Plan, rows: Columns) -> None:
    """Raise InputError, which begins with the first key that the estimate does not cover; ``rows`` are the requests."""
    key, reason = next(_faults(study, plan, rows), ("", ""))
    if key:
        raise InputError(f"{key}: an estimate (run.detail: estimate) does not cover {reason}; set run.detail: high")


def _faults(study: Study, plan: Plan, rows: Columns) -> Iterator[tuple[str, str]]:
    """Yield (key, what is not covered)."""
    yield from _run_faults(study)
    yield from _router_faults(study, plan)
    for index, planned in enumerate(plan.pools):
        yield from _pool_faults(f"fleet.pools.{index}", planned)
    yield from _workload_faults(study, plan, rows)


def _run_faults(study: Study) -> Iterator[tuple[str, str]]:
    fleet, run = study.fleet, study.run
    blocks = (
        ("autoscaler", study.autoscaler is not None, "replicas that come and go"),
        ("upgrades", bool(study.upgrades), "rolling upgrades"),
        ("faults", bool(study.faults), "faults"),
        ("admission", study.admission.is_active, "requests that wait at the router or are turned away"),
        ("run.changes", bool(run.changes), "changes during the run"),
        ("run.event_trace", run.event_trace, "single events"),
        ("fleet.handover", fleet.handover is not None, "prompts that other replicas compute"),
        ("fleet.encoders", fleet.encoders is not None, "encoders apart from the replicas"),
        ("fleet.kv_store", fleet.kv_store is not None, "a shared KV store"),
    )
    yield from ((key, reason) for key, is_there, reason in blocks if is_there)


def _router_faults(study: Study, plan: Plan) -> Iterator[tuple[str, str]]:
    router, own = study.router, study.router.own_admission
    if router.client_timeout_s is not None:
        yield "router.client_timeout_s", "clients that give up"
    if own is not None:
        yield "router.policy", "the admission control of its configuration"
    if router.policy not in EVEN_POLICIES:
        yield "router.policy", f"{router.policy}; it spreads requests evenly, as {', '.join(EVEN_POLICIES)} do"
    if isinstance(router, WeightedOptions) and router.label:
        yield "router.label", "weights by label"
    if len(plan.models) > 1:
        yield "fleet.pools", f"several models ({', '.join(plan.models)})"
    is_uneven = len(plan.pools) > 1 and router.policy not in BLIND_POLICIES and not router.split
    if is_uneven:
        yield "router.policy", f"several pools under {router.policy}, which sends unlike pools unlike shares"


def _pool_faults(key: str, planned: PoolPlan) -> Iterator[tuple[str, str]]:
    pool, engine, limits = planned.pool, planned.pool.engine, planned.limits
    if engine.kind not in ENGINES_COVERED:
        yield f"{key}.engine.kind", f"{engine.kind}; it covers {', '.join(ENGINES_COVERED)}"
    options = (
        (f"{key}.role", pool.role is not None, "pools that compute a part of a request"),
        (f"{key}.replicas", not pool.replicas, "pools without replicas"),
        (f"{key}.pipeline_parallel", pool.pipeline_parallel > 1, "pipeline stages"),
        (f"{key}.data_parallel", pool.data_parallel > 1, "ranks that step together"),
        (f"{key}.engine.policy", engine.policy != "fcfs", f"the order {engine.policy}"),
        (f"{key}.engine.speculative", limits.tokens_per_step > 1, "speculative decoding"),
        (f"{key}.engine.lora", getattr(engine, "lora", None) is not None, "LoRA adapters"),
        (f"{key}.model", limits.kv_groups is not None, "layers that keep a window or a state instead of the context"),
    )
    yield from ((option, reason) for option, is_there, reason in options if is_there)


def _workload_faults(study: Study, plan: Plan, rows: Columns) -> Iterator[tuple[str, str]]:
    if reacts(study.workload) or getattr(study.workload, "max_concurrency", None) is not None:
        yield "workload", "requests that wait for the ends of earlier ones"
    if rows.attributes is None:
        return
    if any(row.encoder_tokens for row in rows.attributes):
        yield "workload", "media beside the prompts"
    if any(row.model not in ("", *plan.models) for row in rows.attributes):
        yield "workload", "requests for models that are not served"
    caching = [index for index, planned in enumerate(plan.pools) if planned.pool.engine.caches_prefixes]
    if caching and any(row.segments for row in rows.attributes):
        yield (
            f"fleet.pools.{caching[0]}.engine.enable_prefix_caching",
            "prompts that share prefixes, which the cache would find; it covers them with false",
        )
