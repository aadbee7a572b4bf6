"""The manifests of KubeRay: fields of the operators' definitions, and the rules that KubeRay checks beside them."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator, ValidationError

Entry = dict[str, Any]

VERSIONS = {"RayJob": "ray.io/v1", "PodMonitor": "monitoring.coreos.com/v1", "PersistentVolumeClaim": "v1"}


def _manifests(checkout: Path) -> Iterator[Entry]:
    for file in sorted((checkout / "conf" / "kuberay").rglob("*.yaml")):
        yield from yaml.safe_load_all(file.read_text(encoding="utf-8"))


def _check(checkout: Path, manifest: Entry) -> None:
    """Raise ValidationError unless a manifest has only fields that are written down, of their types."""
    fields = yaml.safe_load((checkout / "tests" / "kuberay_fields.yaml").read_text(encoding="utf-8"))
    whole = {
        **fields,
        "type": "object",
        "properties": {
            "apiVersion": {"const": VERSIONS[manifest["kind"]]},
            "kind": {"type": "string"},
            "metadata": {"$ref": "#/$defs/metadata"},
            "spec": {"$ref": f"#/$defs/{manifest['kind']}"},
        },
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": False,
    }
    Draft202012Validator(whole).validate(manifest)


def test_manifests_have_the_fields_of_their_definitions(checkout: Path) -> None:
    """Every object has only fields that its definition has, with values of its types."""
    manifests = list(_manifests(checkout))
    kinds = sorted(manifest["kind"] for manifest in manifests)
    assert kinds == ["PersistentVolumeClaim", "PodMonitor", "PodMonitor", "RayJob", "RayJob"]
    for manifest in manifests:
        _check(checkout, manifest)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ttlSecondsAfterFinish": 3600}, "'ttlSecondsAfterFinish' was unexpected"),
        ({"submissionMode": "K8sJob"}, "'K8sJob' is not one of"),
        ({"backoffLimit": "3"}, "'3' is not of type 'integer'"),
        ({"rayClusterSpec": {"headGroupSpec": {"rayStartParams": {"num-cpus": 0}}}}, "0 is not of type 'string'"),
    ],
)
def test_wrong_fields_are_found(checkout: Path, change: Entry, message: str) -> None:
    """A misspelt field, a mode that there is not, and numbers where strings belong and the other way round."""
    job = copy.deepcopy(next(manifest for manifest in _manifests(checkout) if manifest["kind"] == "RayJob"))
    head = job["spec"]["rayClusterSpec"]["headGroupSpec"]
    if "rayClusterSpec" in change:
        head |= change["rayClusterSpec"]["headGroupSpec"]
    else:
        job["spec"] |= change
    with pytest.raises(ValidationError, match=message):
        _check(checkout, job)


def test_jobs_keep_the_operators_rules(checkout: Path) -> None:
    """What KubeRay refuses beside wrong fields, and mounts and ports that no pod has."""
    for job in _manifests(checkout):
        if job["kind"] != "RayJob":
            continue
        spec, cluster = job["spec"], job["spec"]["rayClusterSpec"]
        assert len(job["metadata"]["name"]) <= 47
        # A time to live is refused without the shutdown that it delays; 0 ends the pods before their logs are read.
        assert spec["shutdownAfterJobFinishes"]
        assert spec["ttlSecondsAfterFinished"] > 0
        for group in cluster["workerGroupSpecs"]:
            assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
        for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
            pod = group["template"]["spec"]
            volumes = {volume["name"] for volume in pod.get("volumes", ())}
            assert {mount["name"] for each in pod["containers"] for mount in each.get("volumeMounts", ())} == volumes
            ports = {port["name"]: port["containerPort"] for each in pod["containers"] for port in each["ports"]}
            assert str(ports["metrics"]) == group["rayStartParams"]["metrics-export-port"]


def test_monitors_wait_no_longer_than_their_interval(checkout: Path) -> None:
    """Prometheus refuses a time-out above the interval; both are in seconds."""
    for monitor in _manifests(checkout):
        if monitor["kind"] == "PodMonitor":
            for endpoint in monitor["spec"]["podMetricsEndpoints"]:
                timeout = endpoint.get("scrapeTimeout", endpoint["interval"])
                assert int(timeout.removesuffix("s")) <= int(endpoint["interval"].removesuffix("s"))
