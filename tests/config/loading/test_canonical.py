"""Canonical forms: what is written out loads again to the same study and the same hash."""

from pathlib import Path

import pytest

from cluster_sim.config.loading.canonical import config_hash, resolved_yaml
from cluster_sim.config.loading.document import Document
from cluster_sim.config.loading.load import check_study
from cluster_sim.config.loading.template import study_template
from cluster_sim.config.schema.study import Study


def study_of(text: str) -> Study:
    return check_study(Document.parse(text, "study.yaml"), Path.cwd())


@pytest.mark.parametrize("name", ["plain", "1e3", "007", "yes", "1.5"])
def test_resolved_yaml_round_trips(name: str) -> None:
    """``resolved.yaml`` loads to an equal study, also where text looks like a number."""
    study = study_of(study_template()).model_copy(update={"name": name})
    again = study_of(resolved_yaml(study))
    assert again == study
    assert resolved_yaml(again) == resolved_yaml(study)
    assert config_hash(again) == config_hash(study)


def test_hash_ignores_layout_and_sees_values() -> None:
    """The hash does not depend on order or spelled-out defaults, and changes with any value."""
    full = study_of(study_template())
    short = study_of(
        "fleet: {pools: [{device: h100-sxm, replicas: 4, model: llama-3-8b}]}\n"
        "workload:\n  kind: synthetic\n  count: 2000\n  arrivals: {request_rate: 10, kind: poisson}\n"
        "  lengths:\n    prompt: {kind: lognormal, mean: 1155, std: 1109, min: 1, max: 7000}\n"
        "    output: {kind: lognormal, mean: 211, std: 163, min: 1, max: 1000}\n"
        "slo: {tpot_p99_s: 0.1, ttft_p99_s: 2}\nname: my-study\n"
    )
    assert config_hash(full) == config_hash(short)
    assert config_hash(full) != config_hash(full.model_copy(update={"seed": 43}))


def test_every_default_is_written() -> None:
    """The resolved file names every option of the root and of a pool."""
    data = Document.parse(resolved_yaml(study_of(study_template())), "resolved.yaml").data
    assert list(data) == list(Study.model_fields)
    assert data["fleet"]["pools"][0]["engine"]["block_size"] == 16
