"""The examples of docs/extend.md, executed as they stand."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.outside_package import STUDY, install, recipe, run_command, run_python
from tests.outside_package import run_study as run_outside

PAGE = Path(__file__).parent.parent / "docs" / "extend.md"


def rows(result_directory: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    return pq.read_table(result_directory / "requests.parquet").to_pylist()


def test_the_policy_recipe_reads_kv_usage(tmp_path: Path) -> None:
    """The policy of an outside package takes its own option, spreads requests over every replica by KV usage, and gives
    the same digest whether or not decodes are fast-forwarded.
    """
    site = tmp_path / "site"
    install(site, "emptiest_cache", recipe("policy"), "cluster_sim.routing_policies")
    digests = []
    for macro_steps in ("true", "false"):
        folder = tmp_path / macro_steps
        folder.mkdir()
        router = "router={policy: emptiest_cache, tolerance_ratio: 0.001}"
        out = run_outside(folder, site, router, f"run.macro_steps={macro_steps}")
        assert {row["replica"] for row in rows(out)} == {0, 1, 2}
        digests.append(json.loads((out / "manifest.json").read_text())["digest"])
    assert digests[0] == digests[1]


def test_a_policy_that_reads_what_it_does_not_declare_is_refused(tmp_path: Path) -> None:
    """The command ends with one message that names the figure and the policy."""
    site = tmp_path / "site"
    source = recipe("policy").replace('sampled_fields = ("kv_used_ratio",)', 'sampled_fields = ("running",)')
    install(site, "emptiest_cache", source, "cluster_sim.routing_policies")
    study = tmp_path / "study.yaml"
    study.write_text(STUDY + "router: {policy: emptiest_cache}\n", encoding="utf-8")
    done = run_command(site, "run", study, "--executor", "inline", "--out", tmp_path / "run")
    assert done.returncode == 2
    assert "router.policy: the routing policy 'emptiest_cache' reads kv_used_ratio" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_the_scorer_recipe_is_found_by_a_file(tmp_path: Path) -> None:
    """A scorer of an outside package is named in an EndpointPickerConfig file, with its parameter in camel case."""
    site = tmp_path / "site"
    install(site, "short_queue", recipe("endpoint_scorer"), "cluster_sim.picker_scorers")
    plugins = "[{type: short-queue-scorer, parameters: {mostWaiting: 4}}]"
    picker = f"{{apiVersion: llm-d.ai/v1alpha1, kind: EndpointPickerConfig, plugins: {plugins}}}"
    out = run_outside(tmp_path, site, f"router={{policy: endpoint_picker, config: {picker}}}")
    assert {row["replica"] for row in rows(out)} == {0, 1, 2}


def test_the_scaler_recipe_follows_the_requests(tmp_path: Path) -> None:
    """The scaler of an outside package starts replicas when more than two requests are in flight for each."""
    site = tmp_path / "site"
    install(site, "by_requests", recipe("scaler"), "cluster_sim.scalers")
    out = run_outside(
        tmp_path,
        site,
        "autoscaler={kind: by_requests, requests: 2}",
        "fleet.pools.0.replicas=1",
        "workload.arrivals.request_rate=60",
        "workload.count=300",
    )
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert summary["requests"]["finished"] == 300
    assert len(summary["replicas"]) > 1


def test_the_engine_recipe_serves_one_at_a_time(tmp_path: Path) -> None:
    """No two requests of a replica overlap between their first scheduling and their end, and each rests 0.2 s."""
    site = tmp_path / "site"
    install(site, "one_at_a_time", recipe("engine"), "cluster_sim.engines")
    out = run_outside(
        tmp_path,
        site,
        "fleet.pools.0.engine.kind=one_at_a_time",
        "fleet.pools.0.engine.rest_s=0.2",
        "workload.arrivals.request_rate=2",
    )
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert summary["requests"]["finished"] == 60
    assert all(check["holds"] for check in summary["checks"].values())
    return_s = 0.0005
    for replica in range(3):
        mine = sorted((row for row in rows(out) if row["replica"] == replica), key=lambda row: row["scheduled_s"])
        assert all(row["first_token_s"] - row["scheduled_s"] >= 0.2 for row in mine)
        for before, after in pairwise(mine):
            assert after["scheduled_s"] >= before["finish_s"] - return_s - 1e-9


def test_queue_orders_that_declare_an_option_otherwise_are_refused_alone(tmp_path: Path) -> None:
    """Of two outside orders that declare one option differently the second is named with its package; others work."""
    site = tmp_path / "site"
    install(site, "longest_first", recipe("queue_order"), "cluster_sim.queue_orders")
    other = (
        recipe("queue_order").replace("longest_first", "patient_first").replace("Field(1.0, ge=0", "Field(2.0, ge=0")
    )
    install(site, "patient_first", other, "cluster_sim.queue_orders")
    study = tmp_path / "study.yaml"
    study.write_text(STUDY, encoding="utf-8")
    engine = "fleet.pools.0.engine"
    assert run_command(site, "validate", study, "--set", f"{engine}.policy=longest_first").returncode == 0
    done = run_command(site, "validate", study, "--set", f"{engine}.policy=patient_first")
    assert done.returncode == 2
    assert "the queue order 'patient_first' of the package patient-first cannot be loaded (TypeError: it" in done.stderr
    assert "declares the option patience_s otherwise than longest_first does" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_queue_order_recipe_orders_as_the_page_says(tmp_path: Path) -> None:
    """On one slot the longest prompt that waits is next, but for those that have waited for 0.5 s."""
    site = tmp_path / "site"
    install(site, "longest_first", recipe("queue_order"), "cluster_sim.queue_orders")
    pool = "fleet.pools.0"
    out = run_outside(
        tmp_path,
        site,
        f"{pool}.replicas=1",
        f"{pool}.engine.policy=longest_first",
        f"{pool}.engine.ordering.patience_s=0.5",
        f"{pool}.engine.max_num_seqs=1",
        "workload.arrivals.request_rate=20",
    )
    served = sorted(rows(out), key=lambda row: row["scheduled_s"])
    overtaken = 0
    for position, row in enumerate(served):
        now_s = row["scheduled_s"]
        for later in served[position + 1 :]:
            if now_s - 0.4 < later["arrival_s"] < now_s - 0.01:
                overtaken += 1
                assert row["prompt_tokens"] >= later["prompt_tokens"] or now_s - row["arrival_s"] > 0.499
    assert overtaken


def test_the_family_recipe_reads_a_configuration(tmp_path: Path) -> None:
    """Of four layers the second and the fourth have experts; other keys that change cost are refused all the same."""
    site = tmp_path / "site"
    install(site, "sometimes_sparse", recipe("family"), "cluster_sim.model_families")
    config: dict[str, Any] = {"model_type": "sometimes_sparse", "hidden_size": 64, "num_hidden_layers": 4}
    config |= {"num_attention_heads": 4, "intermediate_size": 128, "num_experts": 8, "moe_intermediate_size": 32}
    config |= {"sparse_period": 2, "expert_dropout": 0.1}
    model, study = tmp_path / "config.json", tmp_path / "study.yaml"
    model.write_text(json.dumps(config), encoding="utf-8")
    code = f"from cluster_sim.hardware.model import load_model; print(load_model({str(model)!r}).total_parameters)"
    done = run_python(site, "-c", code)
    total = 4 * (4 * 64 * 64 + 2 * 64) + 2 * 3 * 64 * 128 + 2 * (8 * 3 * 64 * 32 + 64 * 8) + 2 * 32000 * 64 + 64
    assert int(done.stdout) == total
    model.write_text(json.dumps(config | {"expert_sharing": 2}), encoding="utf-8")
    study.write_text(STUDY, encoding="utf-8")
    done = run_command(site, "validate", study, "--set", f"fleet.pools.0.model={model}")
    assert done.returncode == 2
    assert "expert_sharing: not understood for model_type sometimes_sparse" in done.stderr


def test_the_predictor_recipe_prices_steps_as_the_page_says(tmp_path: Path) -> None:
    """A request takes 10 ms a token and 0.02 ms a prompt token, in single steps and fast-forwarded; steps of more
    sequences than were measured count as extrapolated.
    """
    site = tmp_path / "site"
    install(site, "stopwatch_steps", recipe("predictor"), "cluster_sim.predictors")
    block = "predictor={kind: stopwatch, step_ms: 10, prompt_token_us: 20, largest_batch: 2}"
    lonely = ("workload.arrivals.request_rate=0.5", "fleet.network={router_to_replica_ms: 0, replica_to_router_ms: 0}")
    out = run_outside(tmp_path, site, block, *lonely)
    for row in rows(out):
        steps = -(-row["prompt_tokens"] // 8192) + row["output_tokens"] - 1
        assert row["e2e_s"] == pytest.approx(0.010 * steps + 20e-6 * row["prompt_tokens"], abs=1e-9)
    summaries = []
    for name in ("true", "false"):
        folder = tmp_path / name
        folder.mkdir()
        out = run_outside(folder, site, block, "workload.arrivals.request_rate=200", f"run.macro_steps={name}")
        summaries.append(json.loads((out / "summary.json").read_text()))
    fast, single = summaries
    assert fast == single
    coverage = fast["predictor_coverage"]
    assert coverage["steps"] == fast["iterations"]
    assert 0 < coverage["measured_ratio"] < 1
