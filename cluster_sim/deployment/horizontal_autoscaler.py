"""Autoscaler of a fleet on Kubernetes: a HorizontalPodAutoscaler of each pool, or why there is none.

Source: Kubernetes' autoscaling/v2.  It is the reverse of the model in ``routing/scaling/scalers/hpa.py``: metrics of
replicas are Pods metrics, those of the router External ones with an average value.  Where the manifest cannot say
something that the study does, a remark says it.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import yaml

from cluster_sim.config.schema.fleet import Pool
from cluster_sim.routing.scaling.behavior import Direction
from cluster_sim.routing.scaling.metrics import SAMPLED_METRICS
from cluster_sim.routing.scaling.scaler_interface import AutoscalerOptions
from cluster_sim.routing.scaling.scalers.hpa import HorizontalOptions, HpaOptions, MetricTarget
from cluster_sim.routing.scaling.scalers.keda import KedaOptions

SERIES: Final[Mapping[str, tuple[str, str]]] = {
    "running": ("vllm_num_requests_running", "vllm:num_requests_running"),
    "waiting": ("vllm_num_requests_waiting", "vllm:num_requests_waiting"),
    "kv_used_ratio": ("vllm_kv_cache_usage_perc", "vllm:kv_cache_usage_perc"),
    "in_flight": ("llm_d_epp_request_running", "sum(llm_d_epp_request_running)"),
    "queued": ("llm_d_epp_flow_control_queue_size", "sum(llm_d_epp_flow_control_queue_size)"),
    "requests_per_s": ("llm_d_epp_requests_per_s", "sum(rate(llm_d_epp_request_total[1m]))"),
    "tokens_per_s": (
        "llm_d_epp_tokens_per_s",
        "sum(rate(llm_d_epp_request_input_tokens_sum[1m])) + sum(rate(llm_d_epp_request_output_tokens_sum[1m]))",
    ),
}
"""For each metric of a scaler the name that the cluster's metrics adapter is to give it, and its series or query."""

OTHERS: Final[Mapping[str, str]] = {
    "dynamo_planner": "it predicts the load and reads a profile of the engine; Dynamo's planner does it",
    "knative": "it averages concurrency over a calm and a panic window; a Knative Service with the class KPA does it",
    "llm_d_variant": "it looks at the spare cache and queue of replicas; llm-d's workload variant autoscaler does it",
    "oracle": "it knows the load to come, which nothing in a cluster does",
    "ray_serve": "it acts on ongoing requests after delays in one direction; autoscaling_config of Ray Serve does it",
    "schedule": "it sets numbers at given times; a CronJob or KEDA's cron trigger does it",
}
"""Why scalers have no HorizontalPodAutoscaler, and what does the same."""

SYNC_PERIOD_S: Final = 15.0
TOLERANCE_RATIO: Final = 0.1
"""What a cluster does unless its controller manager is told otherwise."""
LONGEST_WINDOW_S: Final = 3600
LONGEST_PERIOD_S: Final = 1800
"""Limits of autoscaling/v2."""
MOST_OF_NAME: Final = 50
"""Characters of a name, so that the role fits behind it."""
_SELECT: Final = {"max": "Max", "min": "Min", "disabled": "Disabled"}


def object_name(repository: str) -> str:
    """Return a name that Kubernetes takes for what serves a model: ``llama-3-1-70b-instruct``."""
    plain = re.sub(r"[^a-z0-9]+", "-", repository.rpartition("/")[2].lower())
    return plain[:MOST_OF_NAME].strip("-") or "model"


def scaled_pools(options: AutoscalerOptions | None, pools: Sequence[Pool]) -> list[Pool]:
    """Return the pools on which an autoscaler acts."""
    return [] if options is None else [pool for pool in pools if not options.pools or pool.name in options.pools]


def why_none(options: AutoscalerOptions) -> str:
    """Return why an autoscaler has no HorizontalPodAutoscaler; empty if it has one."""
    if isinstance(options, HpaOptions | KedaOptions):
        return ""
    return OTHERS.get(options.kind, "it follows a rule of its own")


def manifest(options: HorizontalOptions, pool: Pool, workload: str) -> str:
    """Return the YAML of the HorizontalPodAutoscaler of a pool whose replicas are those of a Deployment."""
    bounds = options.bounds_of(pool.name)
    targets: Sequence[MetricTarget] = options.metrics if isinstance(options, HpaOptions) else _triggers(options)
    document = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": workload},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": workload},
            "minReplicas": max(1, bounds.min_replicas),
            "maxReplicas": bounds.max_replicas,
            "metrics": [_metric(target, is_external=isinstance(options, KedaOptions)) for target in targets],
            "behavior": {"scaleUp": _behavior(options.scale_up), "scaleDown": _behavior(options.scale_down)},
        },
    }
    body: str = yaml.safe_dump(document, sort_keys=False, width=120)
    remarks = [*_series(targets, is_external=isinstance(options, KedaOptions)), *_remarks(options, bounds.min_replicas)]
    return "".join(f"# {remark}\n" for remark in remarks) + body


def _triggers(options: HorizontalOptions) -> Sequence[MetricTarget]:
    return options.triggers if isinstance(options, KedaOptions) else ()


def _metric(target: MetricTarget, *, is_external: bool) -> dict[str, Any]:
    kind = "Pods" if target.metric in SAMPLED_METRICS and not is_external else "External"
    average = {"type": "AverageValue", "averageValue": quantity(target.target)}
    return {"type": kind, kind.lower(): {"metric": {"name": SERIES[target.metric][0]}, "target": average}}


def quantity(value: float) -> str:
    """Return a number as Kubernetes writes it: whole, or in thousandths, or smaller parts; never below a billionth."""
    exact = Decimal(repr(float(value)))
    for suffix, parts in (("", 1), ("m", 1_000), ("u", 1_000_000)):
        scaled = exact * parts
        if scaled == scaled.to_integral_value():
            return f"{int(scaled)}{suffix}"
    return f"{max(1, round(exact * 1_000_000_000))}n"


def _behavior(direction: Direction) -> dict[str, Any]:
    return {
        "stabilizationWindowSeconds": min(math.ceil(direction.stabilization_s), LONGEST_WINDOW_S),
        "selectPolicy": _SELECT[direction.select],
        "policies": [
            {
                "type": "Percent" if policy.kind == "percent" else "Pods",
                "value": policy.value,
                "periodSeconds": min(math.ceil(policy.period_s), LONGEST_PERIOD_S),
            }
            for policy in direction.policies
        ],
    }


def _series(targets: Sequence[MetricTarget], *, is_external: bool) -> Iterator[str]:
    """Yield what the cluster must provide; an external value is divided by the replicas, so it is a sum over them."""
    for metric in dict.fromkeys(target.metric for target in targets):
        name, query = SERIES[metric]
        query = f"sum({query})" if is_external and metric in SAMPLED_METRICS else query
        yield f"The metrics adapter of the cluster must give {name} as {query}."


def _remarks(options: HorizontalOptions, least: int) -> Iterator[str]:
    """Yield what the study says and the manifest does not."""
    if isinstance(options, KedaOptions):
        more = ", and alone scales to 0 and back" if least == 0 else ""
        yield f"A ScaledObject of KEDA with these metrics and bounds makes this one{more}."
    elif least == 0:
        yield "A HorizontalPodAutoscaler keeps at least one replica, as the study's does."
    if options.sync_period_s != SYNC_PERIOD_S:
        yield f"The study decides every {options.sync_period_s:g} s: --horizontal-pod-autoscaler-sync-period."
    if options.tolerance_ratio != TOLERANCE_RATIO:
        yield f"The study tolerates {options.tolerance_ratio:g}: --horizontal-pod-autoscaler-tolerance."
    if options.victim != "youngest":
        yield f"The study takes away the {options.victim.replace('_', ' ')} replica first, Kubernetes the youngest."
    if options.gpu_budget is not None or options.device_budgets:
        yield "The study limits the GPUs of all pools together: a ResourceQuota does, and pods beyond it wait."
    windows = (options.scale_up.stabilization_s, options.scale_down.stabilization_s)
    periods = [policy.period_s for one in (options.scale_up, options.scale_down) for policy in one.policies]
    if any(_is_changed(value, LONGEST_WINDOW_S) for value in windows) or any(
        _is_changed(value, LONGEST_PERIOD_S) for value in periods
    ):
        yield (
            f"Times are whole seconds here, windows of at most {LONGEST_WINDOW_S} and periods of at most "
            f"{LONGEST_PERIOD_S}; the study has others."
        )


def _is_changed(value_s: float, most_s: int) -> bool:
    return not value_s.is_integer() or value_s > most_s
