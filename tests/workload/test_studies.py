"""The studies that come with the product: those of the seed systems among them."""

from pathlib import Path

import pytest

from cluster_sim.config.loading.load import load_study
from cluster_sim.document import Document
from cluster_sim.study.variants import expand
from cluster_sim.workload.build import build_source
from cluster_sim.workload.source import FeedbackSource

LLM_INFER = {
    "experiment_1_batch_size": 8 * 30,
    "experiment_2_policies": 4 * 30,
    "experiment_3_load": 14,
    "experiment_4_distributions": 5 * 5,
    "experiment_5_varying_load": 2 * 2 * 2 * 5,
    "high_load_fcfs": 1,
    "sjf_bimodal": 1,
    "priority_sinusoidal": 1,
    "predicted_sjf_step": 1,
}
ORACLE = (
    "single_profile", "conversations", "long_prompts", "mixed_clients", "tensor_parallel", "pipeline_parallel",
)  # fmt: skip


@pytest.mark.parametrize("name", LLM_INFER)
def test_the_experiments_and_examples_of_llm_infer(checkout: Path, name: str) -> None:
    """Each loads, has the documented number of runs, each valid, and makes requests."""
    path = checkout / f"conf/studies/llm_infer/{name}.yaml"
    study = load_study(path)
    if LLM_INFER[name] > 1:
        variants = expand(path, Document.read(path))
        assert len(variants) == LLM_INFER[name]
        assert [variant.error for variant in variants if variant.study is None] == []
    source = build_source(study.workload, study.seed)
    assert not isinstance(source, FeedbackSource)
    held = len(next(source.chunks()))
    if study.workload.arrivals.kind == "poisson":
        assert held == min(study.workload.count, 4096)
    else:
        assert 0 < held <= 4096, "candidates that are thinned out leave a shorter list"


@pytest.mark.parametrize("name", ORACLE)
def test_the_client_profiles_of_llmperforacle(checkout: Path, name: str) -> None:
    """Each loads and makes requests; conversations react to how requests fare."""
    study = load_study(checkout / f"conf/studies/llmperforacle/{name}.yaml")
    source = build_source(study.workload, study.seed)
    assert isinstance(source, FeedbackSource) == (name in {"conversations", "mixed_clients"})
    chunks = source.initial() if isinstance(source, FeedbackSource) else source.chunks()
    assert all(request.attributes.tenant for request in next(chunks))


def test_distributions_of_experiment_4_have_one_mean(checkout: Path) -> None:
    """Only the shape differs: every prompt distribution has a mean of 169 tokens within 4 %."""
    path = checkout / "conf/studies/llm_infer/experiment_4_distributions.yaml"
    for variant in expand(path, Document.read(path))[::5]:
        assert variant.study is not None
        workload = variant.study.workload.model_copy(update={"count": 60_000})
        source = build_source(workload, 5)
        assert not isinstance(source, FeedbackSource)
        prompts = [request.prompt_tokens for chunk in source.chunks() for request in chunk]
        assert sum(prompts) / len(prompts) == pytest.approx(169, rel=0.04)
