"""The deployment files: schemas, security, and agreement with one another."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster_sim.metrics.exposition.exposition import Exposition
from cluster_sim.metrics.exposition.text import TextWriter
from cluster_sim.metrics.live import EngineMembers, opening_snapshot
from cluster_sim.metrics.objectives import Slo
from cluster_sim.metrics.request_totals import RequestTotals
from cluster_sim.metrics.run_metadata import PoolMetadata, RunMetadata


@pytest.fixture(scope="module")
def compose(checkout: Path) -> dict[str, Any]:
    return yaml.safe_load((checkout / "docker-compose.yml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def expressions(checkout: Path) -> list[str]:
    """Every PromQL expression of our dashboards, its variables replaced."""
    texts = [
        target["expr"]
        for dashboard in _dashboards(checkout)
        for panel in dashboard["panels"]
        for target in panel["targets"]
    ]
    return [text.replace("$__rate_interval", "1m").replace("$model_name", ".*") for text in texts]


def test_compose_file_follows_the_specification(checkout: Path) -> None:
    """docker-compose.yml is valid by the Compose specification's schema."""
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml"],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_has_every_part(compose: dict[str, Any]) -> None:
    """A Ray head, workers, the simulator, sweeps, Prometheus and Grafana; our image is built from the Dockerfile."""
    ours = {"ray-head", "ray-worker", "simulator", "sweep"}
    assert set(compose["services"]) == {*ours, "prometheus", "grafana"}
    assert all(compose["services"][name]["build"] == "." for name in ours)


def test_compose_publishes_on_loopback_only(compose: dict[str, Any]) -> None:
    """Published ports are bound to 127.0.0.1, and Ray's are not published at all."""
    for name, service in compose["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert name in ("prometheus", "grafana") or "ports" not in service


def test_containers_are_neither_root_nor_writable(checkout: Path, compose: dict[str, Any]) -> None:
    """Every container has a user that is not root, a read-only root file system and no capabilities; so has the image.

    Files of the checkout are mounted read-only.
    """
    for name, service in compose["services"].items():
        assert int(service["user"].split(":")[0]) > 0, name
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert [place.split(":")[0] for place in service["tmpfs"]] == ["/tmp"], name
        assert "privileged" not in service, name
        assert all(volume.endswith(":ro") for volume in service.get("volumes", []) if volume.startswith(".")), name
    users = re.findall(r"^USER (.*)$", (checkout / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert users == [compose["services"]["simulator"]["user"]]


def test_compose_asks_for_secrets(compose: dict[str, Any]) -> None:
    """Ray's token and Grafana's password have no default, so nobody runs with a known one."""
    for name in ("ray-head", "ray-worker", "simulator", "sweep"):
        environment = compose["services"][name]["environment"]
        assert environment["RAY_AUTH_MODE"] == "token"
        assert environment["RAY_AUTH_TOKEN"].startswith("${RAY_AUTH_TOKEN:?")
    assert compose["services"]["grafana"]["environment"]["GF_SECURITY_ADMIN_PASSWORD"].startswith(
        "${GRAFANA_PASSWORD:?"
    )


def test_mounted_files_exist(checkout: Path, compose: dict[str, Any]) -> None:
    """Every file or folder of the checkout that a service mounts is there."""
    for name, service in compose["services"].items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (checkout / source).exists(), f"{name}: {source}"
            else:
                assert source in compose["volumes"], f"{name}: {source}"


def test_dockerfile_installs_what_pyproject_names(checkout: Path) -> None:
    """The layer of versions lists the very packages that the project depends on, all of them pinned."""
    import tomllib

    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {re.split(r"[<>=\[]", requirement)[0] for requirement in project["dependencies"]}
    text = (checkout / "Dockerfile").read_text(encoding="utf-8")
    line = re.search(r"^RUN pip install --constraint constraints.txt \\\n((?: .*\n)+)", text, re.MULTILINE)
    assert line is not None
    assert set(line.group(1).replace("\\", "").split()) == wanted


def test_every_dependency_is_pinned(checkout: Path) -> None:
    """constraints.txt has exactly one version, and nothing else, for every package that ``make setup`` installs."""
    import tomllib

    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = project["dependencies"] + [
        r for name in ("dev", "fit") for r in project["optional-dependencies"][name]
    ]
    wanted = {re.split(r"[<>=\[]", requirement)[0].lower().replace("_", "-") for requirement in requirements}
    lines = [
        line
        for line in (checkout / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][A-Za-z0-9.]*", line) for line in lines)
    pinned = [line.split("==")[0].lower().replace("_", "-") for line in lines]
    assert len(pinned) == len(set(pinned))
    assert wanted - {"cluster-sim"} <= set(pinned)


def _dashboards(checkout: Path) -> list[dict[str, Any]]:
    files = sorted((checkout / "conf/grafana/dashboards").glob("*.json"))
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def test_there_are_dashboards_of_every_part(checkout: Path) -> None:
    """The fleet, the router, the replicas and the protocol have a dashboard each, with an address of its own."""
    parts = ["", "-protocol", "-replica", "-router"]
    assert sorted(dashboard["uid"] for dashboard in _dashboards(checkout)) == [f"cluster-sim{part}" for part in parts]


@pytest.mark.parametrize("number", range(4))
def test_dashboard_reads_the_provisioned_source(checkout: Path, number: int) -> None:
    """A dashboard's data source is the provisioned one, and panels neither overlap nor lack a query."""
    sources = yaml.safe_load((checkout / "conf/grafana/provisioning/datasources/prometheus.yml").read_text())
    taken: set[tuple[int, int]] = set()
    for panel in _dashboards(checkout)[number]["panels"]:
        assert panel["datasource"]["uid"] == sources["datasources"][0]["uid"]
        assert panel["targets"]
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert max(x for x, _ in cells) < 24
        assert not cells & taken
        taken |= cells


def test_dashboards_rules_and_alerts_read_series_that_are_served(checkout: Path, expressions: list[str]) -> None:
    """Every series that dashboards, rules and alerts name is served by a run."""
    vllm = PoolMetadata("main", "llama-3-8b", "h100-sxm", 1, 1, 3.0, "roofline", kv_blocks=100)
    sglang = replace(vllm, name="other", engine="sglang")
    metadata = RunMetadata("small", 1, (vllm, sglang), Slo())
    totals = RequestTotals(2, ["main", "other"])
    snapshot = replace(opening_snapshot(metadata, totals, EngineMembers(metadata)), completed_ratio=0.5)
    page = TextWriter().page(Exposition(metadata, "small").families(snapshot))
    served = {re.split(r"[ {]", line)[0] for line in page.splitlines() if not line.startswith("#")}
    folder = checkout / "conf/prometheus"
    groups = [
        yaml.safe_load((folder / name).read_text(encoding="utf-8"))["groups"] for name in ("rules.yml", "alerts.yml")
    ]
    rules = [rule["expr"] for (group,) in groups for rule in group["rules"]]
    for text in [*expressions, *rules]:
        named = set(re.findall(r"\b(?:(?:vllm|sglang):|cluster_sim[_:]|llm_d_epp_)[\w:]+", text))
        assert named, text
        assert named <= served, text


def test_prometheus_accepts_its_configuration_and_the_dashboard(
    checkout: Path, expressions: list[str], tmp_path: Path
) -> None:
    """Promtool accepts the configurations, the rules, and every expression of the dashboards."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool (Debian package prometheus)")
    rules = [{"record": f"test:expression:{index}", "expr": text} for index, text in enumerate(expressions)]
    as_rules = tmp_path / "rules.yml"
    as_rules.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}), encoding="utf-8")
    folder = checkout / "conf/prometheus"
    for arguments in (
        ["check", "config", str(folder / "prometheus.yml")],
        ["check", "config", str(folder / "ray_serve_names.yml")],
        ["check", "rules", str(folder / "ray_serve_rules.yml")],
        ["check", "rules", str(as_rules)],
    ):
        done = subprocess.run([promtool, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_fire_when_they_should(checkout: Path, tmp_path: Path) -> None:
    """Promtool plays made-up series: recorded rates are true, and each alert fires in its case."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool (Debian package prometheus)")
    folder = checkout / "conf/prometheus"
    test = (folder / "rules_test.yml").read_text(encoding="utf-8")
    copy = tmp_path / "rules_test.yml"
    copy.write_text(
        test.replace("rules.yml", str(folder / "rules.yml")).replace("alerts.yml", str(folder / "alerts.yml"))
    )
    done = subprocess.run([promtool, "test", "rules", str(copy)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_waits_for_its_workers(compose: dict[str, Any]) -> None:
    """The simulator waits for the CPUs of all workers, and serves its metrics to the other containers."""
    command = compose["services"]["simulator"]["command"][0]
    assert '--min-cpus "$$MIN_CPUS"' in command
    assert "--metrics-host 0.0.0.0" in command
    workers = compose["services"]["ray-worker"]
    cpus = int(re.search(r"WORKER_CPUS:-(\d+)", " ".join(workers["entrypoint"]))[1])
    wanted = re.search(r"MIN_CPUS:-(\d+)", compose["services"]["simulator"]["environment"]["MIN_CPUS"])[1]
    assert int(wanted) == workers["deploy"]["replicas"] * cpus
    assert all("healthcheck" in service for service in compose["services"].values())


def test_ray_takes_the_options_of_its_head(compose: dict[str, Any]) -> None:
    """No node is started with an option that plain Ray refuses: it has no Ray Client server."""
    for name in ("ray-head", "ray-worker"):
        assert not [option for option in compose["services"][name]["entrypoint"] if "ray-client-server" in option]


def test_sweeps_of_the_deployments(checkout: Path, compose: dict[str, Any]) -> None:
    """Compose and KubeRay run a command with options that it has, go on where it was stopped, and keep the results on a
    volume; the workers of KubeRay need no file of the study.
    """
    service = compose["services"]["sweep"]
    assert service["profiles"] == ["sweep"]
    assert "runs:/study/runs" in service["volumes"]
    claim, job = yaml.safe_load_all((checkout / "conf/kuberay/sweep/rayjob.yaml").read_text(encoding="utf-8"))
    run = yaml.safe_load((checkout / "conf/kuberay/rayjob.yaml").read_text(encoding="utf-8"))
    spec, cluster = job["spec"], job["spec"]["rayClusterSpec"]
    assert set(spec) == set(run["spec"])
    assert cluster["rayVersion"] == run["spec"]["rayClusterSpec"]["rayVersion"]
    head = cluster["headGroupSpec"]["template"]["spec"]
    assert {"name": "results", "persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}} in head["volumes"]
    assert "volumes" not in cluster["workerGroupSpecs"][0]["template"]["spec"]
    for command in (service["command"][0], spec["entrypoint"]):
        assert "--resume" in command
        options = set(re.findall(r"--(?:address|out|resume|set|dry-run)\b", command.partition("cluster-sim ")[2]))
        assert options == set(re.findall(r"--[a-z-]+", command.partition("cluster-sim ")[2]))


def test_kuberay_manifests_agree(checkout: Path) -> None:
    """The job waits for its workers' CPUs, and the monitors select ports and labels that its pods have.

    The keys are those of KubeRay's ray.io/v1 RayJob and of the Prometheus operator's PodMonitor.
    """
    job = yaml.safe_load((checkout / "conf/kuberay/rayjob.yaml").read_text(encoding="utf-8"))
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec = job["spec"]
    assert set(spec) <= {
        *("entrypoint", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "backoffLimit", "submissionMode"),
        *("rayClusterSpec", "activeDeadlineSeconds", "runtimeEnvYAML"),
    }
    cluster = spec["rayClusterSpec"]
    assert set(cluster) == {"rayVersion", "headGroupSpec", "workerGroupSpecs"}
    assert f"ray=={cluster['rayVersion']}" in (checkout / "constraints.txt").read_text(encoding="utf-8").splitlines()
    (workers,) = cluster["workerGroupSpecs"]
    assert set(workers) == {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}
    (worker,) = workers["template"]["spec"]["containers"]
    (head,) = cluster["headGroupSpec"]["template"]["spec"]["containers"]
    wanted = int(re.search(r"--min-cpus (\d+)", spec["entrypoint"])[1])
    assert wanted == workers["replicas"] * int(worker["resources"]["limits"]["cpu"])
    ports = {port["name"]: port["containerPort"] for port in head["ports"]}
    assert f"--metrics-port {ports['cluster-sim']}" in spec["entrypoint"]
    monitors = list(yaml.safe_load_all((checkout / "conf/kuberay/podmonitor.yaml").read_text(encoding="utf-8")))
    label = "app.kubernetes.io/name"
    for monitor in monitors:
        assert (monitor["apiVersion"], monitor["kind"]) == ("monitoring.coreos.com/v1", "PodMonitor")
        assert monitor["spec"]["podMetricsEndpoints"][0]["port"] in ports
        wanted_label = monitor["spec"]["selector"]["matchLabels"][label]
        for group in (cluster["headGroupSpec"], workers):
            assert group["template"]["metadata"]["labels"][label] == wanted_label
