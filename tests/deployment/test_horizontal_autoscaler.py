"""Autoscalers of a planned fleet on Kubernetes: the manifest of each pool, or why there is none."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster_sim.config.schema.fleet import Pool
from cluster_sim.config.schema.study import Study
from cluster_sim.deployment.horizontal_autoscaler import OTHERS, object_name, quantity
from cluster_sim.deployment.llm_d_values import llm_d_autoscalers, llm_d_values
from cluster_sim.deployment.server_pool import Choices
from cluster_sim.routing.scaling.scaler_interface import SCALERS, AutoscalerOptions
from cluster_sim.simulation.plan import make_plan
from tests.deployment.imported import imported, written

LENGTHS = {"prompt": {"kind": "fixed", "value": 9}, "output": {"kind": "fixed", "value": 9}}
ARRIVALS = {"kind": "poisson", "request_rate": 1}
NAME = "llama-3-1-8b-instruct"


def scaled(kind: str, **options: Any) -> tuple[list[Pool], AutoscalerOptions]:
    """Return a planned pool of 3 replicas, and an autoscaler with its example's options and others."""
    example = SCALERS.get(kind).options.example
    study = Study.from_dict(
        {
            "workload": {"kind": "synthetic", "count": 1, "arrivals": ARRIVALS, "lengths": LENGTHS},
            "fleet": {"pools": [{"model": "llama-3.1-8b", "device": "h100-sxm", "replicas": 3}]},
            "autoscaler": {"kind": kind, **example, **options},
        }
    )
    assert study.autoscaler is not None
    return [planned.pool for planned in make_plan(study).pools], study.autoscaler


def test_the_manifest_of_an_hpa() -> None:
    """Bounds, metrics and behaviour are the study's: 12 running on average of pods, 2.5 requests/s of the router."""
    metrics = [{"metric": "running", "target": 12}, {"metric": "requests_per_s", "target": 2.5}]
    down = {"stabilization_s": 600, "policies": [{"kind": "replicas", "value": 1, "period_s": 90}], "select": "min"}
    pools, options = scaled("hpa", metrics=metrics, min_replicas=2, max_replicas=7, scale_down=down)
    text = llm_d_autoscalers(pools, options)
    assert yaml.safe_load(text) == {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": f"{NAME}-decode"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": f"{NAME}-decode"},
            "minReplicas": 2,
            "maxReplicas": 7,
            "metrics": [
                {
                    "type": "Pods",
                    "pods": {
                        "metric": {"name": "vllm_num_requests_running"},
                        "target": {"type": "AverageValue", "averageValue": "12"},
                    },
                },
                {
                    "type": "External",
                    "external": {
                        "metric": {"name": "llm_d_epp_requests_per_s"},
                        "target": {"type": "AverageValue", "averageValue": "2500m"},
                    },
                },
            ],
            "behavior": {
                "scaleUp": {
                    "stabilizationWindowSeconds": 0,
                    "selectPolicy": "Max",
                    "policies": [
                        {"type": "Percent", "value": 100, "periodSeconds": 15},
                        {"type": "Pods", "value": 4, "periodSeconds": 15},
                    ],
                },
                "scaleDown": {
                    "stabilizationWindowSeconds": 600,
                    "selectPolicy": "Min",
                    "policies": [{"type": "Pods", "value": 1, "periodSeconds": 90}],
                },
            },
        },
    }
    assert "# The metrics adapter of the cluster must give vllm_num_requests_running as vllm:num_" in text


def test_the_values_name_what_it_scales(tmp_path: Path) -> None:
    """The chart's name names its Deployment for the autoscaler; the values are one document that can be imported."""
    pools, options = scaled("hpa", max_replicas=7)
    text = llm_d_values(pools, options)
    assert text.startswith(f"# The HorizontalPodAutoscaler {NAME}-decode moves the replicas between 1 and 7; decode.")
    values = yaml.safe_load(text)
    assert values["fullnameOverride"] == NAME
    assert values["decode"]["replicas"] == 3
    study, findings = imported("llm-d", written(tmp_path, text, "values.yaml"), Choices())
    assert study.fleet.pools[0].replicas == 3
    assert not findings.not_modelled
    fixed = llm_d_values(pools)
    assert "#" not in fixed
    assert "fullnameOverride" not in fixed
    assert not llm_d_autoscalers(pools, None)


def test_keda_is_an_external_metric_with_a_remark() -> None:
    """KEDA's thresholds are average values of sums; going to 0 is left to its ScaledObject, so the least here is 1."""
    triggers = [{"metric": "waiting", "target": 4}]
    pools, options = scaled("keda", triggers=triggers, min_replicas=0, tolerance_ratio=0.2, victim="oldest")
    text = llm_d_autoscalers(pools, options)
    spec = yaml.safe_load(text)["spec"]
    assert spec["minReplicas"] == 1
    assert spec["metrics"][0]["external"]["metric"] == {"name": "vllm_num_requests_waiting"}
    remarks = [line for line in text.splitlines() if line.startswith("#")]
    assert remarks == [
        "# The metrics adapter of the cluster must give vllm_num_requests_waiting as sum(vllm:num_requests_waiting).",
        "# A ScaledObject of KEDA with these metrics and bounds makes this one, and alone scales to 0 and back.",
        "# The study tolerates 0.2: --horizontal-pod-autoscaler-tolerance.",
        "# The study takes away the oldest replica first, Kubernetes the youngest.",
    ]


@pytest.mark.parametrize("kind", [name for name in SCALERS.names() if name not in {"hpa", "keda"}])
def test_others_say_why_there_is_none(kind: str) -> None:
    """A scaler of another rule has no manifest, and a comment of the values names it, the reason and the bounds."""
    pools, options = scaled(kind, max_replicas=5)
    assert llm_d_autoscalers(pools, options) == ""
    first = llm_d_values(pools, options).splitlines()[0]
    assert first == (
        f"# The autoscaler {kind} has no equivalent HorizontalPodAutoscaler: {OTHERS[kind]}. decode.replicas is the "
        "number at the start; the plan moves it between 1 and 5."
    )


def test_prefill_and_decode_are_scaled_apart() -> None:
    """With both roles there are two documents, of the pools that the autoscaler acts on, each with its own bounds."""
    (pool,), options = scaled("hpa")
    roles = [pool.model_copy(update={"role": role, "name": role}) for role in ("prefill", "decode")]
    both = [one["metadata"]["name"] for one in yaml.safe_load_all(llm_d_autoscalers(roles, options))]
    assert both == [f"{NAME}-prefill", f"{NAME}-decode"]
    one = options.model_copy(update={"pools": ("prefill",)})
    assert [found["metadata"]["name"] for found in yaml.safe_load_all(llm_d_autoscalers(roles, one))] == both[:1]


def test_numbers_and_names_of_kubernetes() -> None:
    """0.7 is 700m, 0.0004 is 400u, a third in billionths, and names are of small letters, digits and hyphens."""
    assert [quantity(value) for value in (16, 0.7, 2.5, 0.0004, 1 / 3, 1e-12)] == [
        "16",
        "700m",
        "2500m",
        "400u",
        "333333333n",
        "1n",
    ]
    assert object_name("meta-llama/Llama-3.1-8B-Instruct") == NAME
    assert object_name("/models/My_Model.json") == "my-model-json"
