"""Admission sections of EndpointPickerConfig files: the options of a study that they mean."""

from pathlib import Path
from typing import Any

import pytest

from cluster_sim.document import Document
from cluster_sim.named_document import DocumentError
from cluster_sim.routing.endpoint_picker.admission_sections import picker_admission
from cluster_sim.routing.endpoint_picker.config_reader import read_config
from cluster_sim.routing.policies.endpoint_picker import EndpointPickerOptions
from tests.routing.endpoint_picker.picking import config

EXAMPLES = Path(__file__).resolve().parents[4] / "shared/epp"


def admission(document: dict[str, Any]) -> dict[str, Any]:
    return picker_admission(read_config(document)).model_dump(exclude_unset=True)


def test_a_file_without_admission_limits_nothing() -> None:
    """Neither does one whose detector nobody uses as such."""
    assert admission(config("queue-scorer")) == {}
    assert admission(config("queue-scorer", "utilization-detector")) == {}


def test_a_detector_without_flow_control_sheds() -> None:
    """Nobody waits; requests of low priority are turned away while endpoints are saturated."""
    parameters = {"queueDepthThreshold": 7, "kvCacheUtilThreshold": 0.9, "metricsStalenessThreshold": "150ms"}
    document = config(
        {"type": "utilization-detector", "parameters": parameters},
        saturationDetector={"pluginRef": "utilization-detector"},
    )
    assert admission(document) == {
        "detector": {
            "kind": "utilization",
            "queue_depth_threshold": 7,
            "kv_usage_threshold": 0.9,
            "stale_after_ms": 150.0,
            "headroom_ratio": 0.0,
        },
        "queues_saturated": False,
        "filters_saturated": False,
        "shedders": ({"kind": "sheddable"},),
    }


def test_an_older_section_has_the_thresholds_itself() -> None:
    """So it was before detectors were plugins."""
    found = admission(config("queue-scorer", saturationDetector={"queueDepthThreshold": 9}))
    assert found["detector"]["queue_depth_threshold"] == 9


def test_flow_control() -> None:
    """With the gate requests wait: detector, orders, fairness, limits (priorities with the sign of vLLM), time to live.

    A detector that a profile has as a filter also spares endpoints above their own limit.
    """
    document = config(
        "queue-scorer",
        {"type": "concurrency-detector", "parameters": {"maxConcurrency": 40, "headroom": 0.5}},
        "edf-ordering-policy",
        featureGates=["flowControl"],
        saturationDetector={"pluginRef": "concurrency-detector"},
        schedulingProfiles=[{"name": "p", "plugins": [{"pluginRef": "concurrency-detector"}]}],
        flowControl={
            "maxBytes": "1Gi",
            "defaultRequestTTL": "30s",
            "priorityBands": [{"priority": 10, "maxBytes": 5000, "fairnessPolicyRef": "global-strict-fairness-policy"}],
        },
    )
    found = admission(document)
    assert found["detector"]["kind"] == "concurrency"
    assert (found["detector"]["max_requests"], found["detector"]["headroom_ratio"]) == (40, 0.5)
    assert (found["queues_saturated"], found["filters_saturated"]) == (True, True)
    assert (found["ordering"]["kind"], found["fairness"]["kind"]) == ("edf", "global_strict")
    assert found["queue"] == {
        "max_bytes": 1 << 30,
        "time_to_live_s": 30.0,
        "priorities": ({"priority": -10, "max_bytes": 5000},),
    }
    assert "shedders" not in found


def test_limits_that_are_none() -> None:
    """A quantity that cannot be read is named with its key."""
    document = config(featureGates=["flowControl"], flowControl={"maxBytes": "much"})
    with pytest.raises(DocumentError, match="must be a number such as 1000 or 1Gi; got 'much'"):
        picker_admission(read_config(document))


@pytest.mark.skipif(not EXAMPLES.exists(), reason="the examples are not part of the repository")
def test_the_probabilistic_admitter_measures_by_itself() -> None:
    """Its file switches the system's detector off; the admitter goes by 5 waiting requests and 0.8 of the cache."""
    document = Document.read(EXAMPLES / "probabilistic-admitter-epp-config.yaml").data
    found = admission(document)
    assert (found["detector"]["queue_depth_threshold"], found["detector"]["kv_usage_threshold"]) == (5, 0.8)
    assert found["shedders"] == ({"kind": "probabilistic", "factor": 300.0, "exponent": 5.0},)
    assert not found["queues_saturated"]
    own: Any = EndpointPickerOptions.model_validate(
        {"config": document, "telemetry": {"period_ms": 20, "latency_ms": 3}}
    ).own_admission
    assert (own.detector.period_ms, own.detector.latency_ms) == (20, 3)
