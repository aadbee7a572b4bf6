"""Deployments as people have them become the studies that one would write by hand."""

from pathlib import Path

from cluster_sim.deployment.server_pool import Choices
from tests.deployment.imported import H100, by_hand, imported, settings


def deploy(shared: Path, name: str) -> Path:
    return shared / "cases" / "files" / "deploy" / name


def test_a_command_line(shared: Path) -> None:
    """Every flag of the command is in the pool, those without effect are listed."""
    study, findings = imported("vllm-serve", deploy(shared, "vllm-serve.txt"))
    assert study == by_hand(
        """
        - name: chat
          model: llama-3.1-8b
          device: h100-sxm
          tensor_parallel: 2
          engine: {max_model_len: 16384, max_num_seqs: 192, max_num_batched_tokens: 4096, gpu_memory_utilization: 0.95,
                   kv_cache_dtype: fp8, enable_prefix_caching: false}
        """,
        study,
    )
    assert settings(findings.without_effect) == ["--port 8000", "--served-model-name chat"]
    assert findings.not_understood == findings.not_modelled == []


def test_a_manifest(shared: Path) -> None:
    """The GPU comes from the node selector, the model from the environment, the version from the image."""
    study, findings = imported("kserve", deploy(shared, "kubernetes-manifest.yaml"), Choices())
    assert study == by_hand(
        """
        - name: vllm-deployment
          model: llama-3.1-8b
          device: h100-sxm
          engine: {version: 0.11.0, max_model_len: 512, max_num_seqs: 192, gpu_memory_utilization: 0.9,
                   enable_prefix_caching: false, enable_chunked_prefill: false}
        """,
        study,
    )
    assert "Service vllm-service" in settings(findings.without_effect)
    assert findings.not_understood == findings.not_modelled == []


def test_values_of_the_production_stack(shared: Path) -> None:
    """One model with its flags; what goes to Kubernetes alone is listed."""
    study, findings = imported("production-stack", deploy(shared, "values-02-basic-config.yaml"))
    assert study == by_hand(
        """
        - name: llama3
          model: llama-3.1-8b
          device: h100-sxm
          engine: {max_model_len: 4096, gpu_memory_utilization: 0.8, enable_prefix_caching: false,
                   enable_chunked_prefill: false}
        """,
        study,
    )
    assert "servingEngineSpec.modelSpec.0.requestCPU" in settings(findings.without_effect)
    assert findings.not_understood == findings.not_modelled == []


def test_values_with_two_models(shared: Path) -> None:
    """Two pools, and an example of a workload that asks for both models; adapters are off without enableLoRA."""
    study, findings = imported("production-stack", deploy(shared, "values-04-multiple-models.yaml"))
    engine = "max_num_seqs: 32, max_model_len: 4096, enable_prefix_caching: true"
    assert study == by_hand(
        f"""
        - {{name: llama3, model: llama-3.1-8b, device: h100-sxm, engine: {{{engine}, gpu_memory_utilization: 0.8}}}}
        - {{name: mistral, model: mistral-7b-v0.2, device: h100-sxm,
            engine: {{{engine}, gpu_memory_utilization: 0.95}}}}
        """,
        study,
    )
    assert "servingEngineSpec.modelSpec.0.vllmConfig.maxLoras 4" in settings(findings.without_effect)


def test_a_scenario_of_llm_d(shared: Path) -> None:
    """The command's variables come from the scenario's keys; those that have no value there are listed."""
    path = deploy(shared, "llm-d-optimized-baseline.yaml")
    study, findings = imported("llm-d", path)
    engine = "max_model_len: 16000, block_size: 64, gpu_memory_utilization: 0.95, enable_prefix_caching: false"
    pool = "{name: optimized-baseline, model: qwen3-32b, device: h100-sxm, replicas: 2, engine: {%s}}"
    assert study == by_hand(f"- {pool % engine}", study)
    assert "--max-num-seq $VLLM_MAX_NUM_SEQ" in settings(findings.not_understood)
    assert "scenario.0.modelservice.router" in settings(findings.assumed)
    given, _ = imported("llm-d", path, H100, VLLM_MAX_NUM_SEQ="256")
    assert given.fleet.pools[0].engine.max_num_seqs == 256
