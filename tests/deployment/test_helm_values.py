"""Helm values of the production stack and of llm-d's chart, and what is refused in them."""

from pathlib import Path

import pytest

from cluster_sim.deployment.server_pool import Choices
from cluster_sim.errors import InputError
from tests.deployment.imported import by_hand, imported, settings, written

STACK = """
servingEngineSpec:
  modelSpec:
    - name: qwen
      repository: vllm/vllm-openai
      tag: v0.11.0
      modelURL: Qwen/Qwen3-8B
      replicaCount: 3
      requestGPU: 2
      nodeSelectorTerms:
        - matchExpressions:
            - {key: nvidia.com/gpu.product, operator: In, values: [NVIDIA-L40S]}
      vllmConfig:
        tensorParallelSize: 2
        maxModelLen: 8192
        maxLoras: 2
        extraArgs: [--max-num-seqs=64, "--kv-cache-dtype", fp8]
      enableLoRA: true
routerSpec: {routingLogic: roundrobin, replicaCount: 1}
"""

CHART = """
modelArtifacts: {uri: hf://Qwen/Qwen3-32B, name: Qwen/Qwen3-32B, size: 80Gi}
decode:
  replicas: 2
  parallelism: {tensor: 2}
  acceleratorTypes: {labelKey: nvidia.com/gpu.product, labelValues: [NVIDIA-H100-80GB-HBM3]}
  containers:
    - name: vllm
      image: ghcr.io/llm-d/llm-d-cuda:v0.3.0
      modelCommand: vllmServe
      args: [--disable-uvicorn-access-log, "--gpu-memory-utilization=0.95"]
prefill: {create: false}
"""


def test_all_keys_of_a_model(tmp_path: Path) -> None:
    """GPU from the selector, version from the tag, adapters, further flags, and the router."""
    study, findings = imported("production-stack", written(tmp_path, STACK), Choices())
    engine = (
        "{version: 0.11.0, max_model_len: 8192, max_num_seqs: 64, kv_cache_dtype: fp8, lora: {max_loras: 2}, "
        "enable_prefix_caching: true}"
    )
    pool = f"{{name: qwen, model: qwen3-8b, device: l40s, replicas: 3, tensor_parallel: 2, engine: {engine}}}"
    assert study == by_hand(f"- {pool}", study, router={"policy": "round_robin"})
    assert settings(findings.without_effect) == ["routerSpec.replicaCount"]


def test_values_of_a_model_service(tmp_path: Path) -> None:
    """Degrees and GPU from the chart's keys; the version of llm-d's image is not vLLM's."""
    study, findings = imported("llm-d", written(tmp_path, CHART), Choices())
    engine = "{gpu_memory_utilization: 0.95, enable_prefix_caching: true}"
    pool = f"{{name: Qwen3-32B, model: qwen3-32b, device: h100-sxm, replicas: 2, tensor_parallel: 2, engine: {engine}}}"
    assert study == by_hand(f"- {pool}", study)
    assert "version" in settings(findings.assumed)


@pytest.mark.parametrize(
    ("format_name", "old", "new", "message"),
    [
        ("production-stack", "servingEngineSpec", "engineSpec", ":1: servingEngineSpec: is missing"),
        (
            "production-stack",
            "modelURL: Qwen/Qwen3-8B",
            "modelUrl: x",
            ":4: servingEngineSpec.modelSpec.0.modelURL: is mi",
        ),
        (
            "production-stack",
            "replicaCount: 3",
            "replicaCount: [3]",
            ":8: servingEngineSpec.modelSpec.0.replicaCount: must",
        ),
        ("production-stack", "requestGPU: 2", "requestGPU: 1", ":9: asks for 1 GPU, but its parallel degrees take 2"),
        (
            "production-stack",
            "requestGPU: 2",
            "lmcacheConfig: {enabled: true}",
            ":9: servingEngineSpec.modelSpec.0.lmcache",
        ),
        (
            "production-stack",
            "roundrobin",
            "prefixaware",
            "routerSpec.routingLogic prefixaware: of these roundrobin is",
        ),
        (
            "production-stack",
            "maxModelLen: 8192",
            "maxModelLen: long",
            ":15: servingEngineSpec.modelSpec.0.vllmConfig.max",
        ),
        (
            "production-stack",
            "requestGPU: 2",
            "requestGPUType: nvidia.com/mig-4g.71gb",
            "parts of a GPU are not modelled",
        ),
        ("llm-d", "modelArtifacts", "modelArtefacts", ":1: has neither scenario nor modelArtifacts"),
        ("llm-d", "prefill: {create: false}", "prefill: {replicas: 1}", ":12: prefill: prefill in servers of its own"),
        ("llm-d", "modelCommand: vllmServe", "modelCommand: tgi", "modelCommand: must be one of custom, imageDefault"),
        ("llm-d", "replicas: 2", "replicas: 0", ":3: decode: has no replicas"),
        ("llm-d", "tensor: 2", "tensor: {}", ":5: decode.parallelism.tensor: must be text; got {}"),
        ("llm-d", "labelValues: [NVIDIA-H100-80GB-HBM3]", "labelValues: []", "nothing names the type of the GPU"),
    ],
)
def test_one_thing_wrong(tmp_path: Path, format_name: str, old: str, new: str, message: str) -> None:
    """One message with file, line and key."""
    text = {"production-stack": STACK, "llm-d": CHART}[format_name]
    assert old in text
    with pytest.raises(InputError) as error:
        imported(format_name, written(tmp_path, text.replace(old, new), "values.yaml"), Choices())
    assert message in str(error.value)


def test_unknown_keys_are_listed_with_the_nearest(tmp_path: Path) -> None:
    """A key that the chart has not is named, not dropped in silence."""
    path = written(tmp_path, STACK.replace("maxModelLen", "maxModelLength"))
    _, findings = imported("production-stack", path, Choices())
    (finding,) = findings.not_understood
    assert finding.setting == "servingEngineSpec.modelSpec.0.vllmConfig.maxModelLength"
    assert finding.text == "unknown key; did you mean 'maxModelLen'?"
    assert finding.place == f"{path}:15"
