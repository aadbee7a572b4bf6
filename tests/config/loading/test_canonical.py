"""Canonical forms: what is written out loads again to the same study and the same hash."""

from pathlib import Path

import pytest

from cluster_sim.config.loading.canonical import config_hash, resolved_yaml
from cluster_sim.config.loading.load import check_study
from cluster_sim.config.loading.overrides import apply_overrides
from cluster_sim.config.loading.template import study_template
from cluster_sim.config.schema.fleet import Pool
from cluster_sim.config.schema.study import Study
from cluster_sim.document import Document


def study_of(text: str, *overrides: str) -> Study:
    document = Document.parse(text, "study.yaml")
    apply_overrides(document, overrides)
    return check_study(document, Path.cwd())


@pytest.mark.parametrize("name", ["plain", "1e3", "007", "yes", "1.5"])
def test_resolved_yaml_round_trips(name: str) -> None:
    """``resolved.yaml`` loads to an equal study, also where text looks like a number."""
    study = study_of(study_template()).model_copy(update={"name": name})
    again = study_of(resolved_yaml(study))
    assert again == study
    assert resolved_yaml(again) == resolved_yaml(study)
    assert config_hash(again) == config_hash(study)


def test_hash_ignores_layout_and_sees_values() -> None:
    """The hash does not depend on order or spelled-out defaults, and changes with a value anywhere."""
    full = study_of(study_template())
    short = study_of(
        "fleet: {pools: [{device: h100-sxm, replicas: 4, model: llama-3-8b}]}\n"
        "workload:\n  kind: synthetic\n  count: 2000\n  arrivals: {request_rate: 10, kind: poisson}\n"
        "  lengths:\n    prompt: {kind: lognormal, mean: 1155, std: 1109, min: 1, max: 7000}\n"
        "    output: {kind: lognormal, mean: 211, std: 163, min: 1, max: 1000}\n"
        "slo: {tpot_p99_s: 0.1, ttft_p99_s: 2}\nname: my-study\n"
    )
    assert config_hash(full) == config_hash(short)
    changes = (
        "seed=43",
        "workload.lengths.output.max=999",
        "fleet.pools.0.replicas=5",
        "fleet.pools.0.engine.block_size=32",
        "fleet.network.router_to_replica_ms=0.4",
        "router.telemetry.period_ms=49",
        "slo.tpot_p99_s=0.2",
        "run.end_s=50",
    )
    hashes = {config_hash(study_of(study_template(), change)) for change in changes}
    assert len(hashes | {config_hash(full)}) == len(changes) + 1


def test_hash_leaves_out_what_changes_no_result() -> None:
    """Executor, placement, fast-forwarding and outputs leave the hash as it is; the end of the run changes it."""
    study = study_of(study_template())

    def hash_with(**options: object) -> str:
        return config_hash(study.model_copy(update={"run": study.run.model_copy(update=options)}))

    same = {"executor": "ray", "replicas_per_actor": 2, "actors": 3, "placement_seed": 1, "stages": "actors"}
    same |= {"macro_steps": False, "series_interval_s": 0.0, "event_trace": True, "port_range": (30000, 30010)}
    assert {hash_with(**{key: value}) for key, value in same.items()} == {config_hash(study)}
    assert hash_with(end_s=10.0) != config_hash(study)
    assert hash_with(detail="high") == config_hash(study) != hash_with(detail="estimate")


def test_every_default_is_written() -> None:
    """The resolved file names every option of the root, of a pool and of its engine."""
    data = Document.parse(resolved_yaml(study_of(study_template())), "resolved.yaml").data
    assert list(data) == list(Study.model_fields)
    (pool,) = data["fleet"]["pools"]
    assert list(pool) == list(Pool.model_fields)
    assert list(pool["engine"]) == list(type(study_of(study_template()).fleet.pools[0].engine).model_fields)
    assert pool["engine"]["block_size"] == 16
