"""Kubernetes manifests: workloads, KServe's services, and what is refused in them."""

from pathlib import Path

import pytest

from cluster_sim.deployment.server_pool import Choices
from cluster_sim.errors import InputError
from tests.deployment.imported import by_hand, imported, settings, written

SERVICE = """
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: llama}
spec:
  predictor:
    minReplicas: 2
    maxReplicas: 2
    nodeSelector: {nvidia.com/gpu.product: NVIDIA-H100-80GB-HBM3}
    model:
      modelFormat: {name: huggingface}
      storageUri: hf://meta-llama/Llama-3.1-8B-Instruct
      args: [--model_name=llama, --max_length=8192, --max-num-seqs=128]
      resources: {limits: {nvidia.com/gpu: "1"}}
"""

LLM_SERVICE = """
apiVersion: serving.kserve.io/v1alpha1
kind: LLMInferenceService
metadata: {name: qwen}
spec:
  model: {uri: hf://Qwen/Qwen3-235B-A22B, name: Qwen/Qwen3-235B-A22B}
  replicas: 3
  parallelism: {tensor: 2, data: 4, dataLocal: 4, expert: true}
  router: {scheduler: {}, route: {}, gateway: {}}
  template:
    nodeSelector: {gpu.nvidia.com/model: H200}
    containers:
      - name: main
        env:
          - {name: VLLM_ADDITIONAL_ARGS, value: --max-model-len 16384}
        resources: {limits: {nvidia.com/gpu: 8}}
"""

DEPLOYMENT = """
kind: Deployment
metadata: {name: shell}
spec:
  replicas: 4
  template:
    spec:
      affinity:
        nodeAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            nodeSelectorTerms:
              - matchExpressions:
                  - {key: node.kubernetes.io/instance-type, operator: In, values: [p5.48xlarge]}
      containers:
        - name: proxy
          image: envoy:1
        - name: engine
          image: example.org/team/vllm-openai:v0.11.2
          command: [/bin/bash, -c]
          args:
            - |
              export LEN=4096
              exec vllm serve Qwen/Qwen3-8B --max-model-len $LEN --tensor-parallel-size 2
          resources: {limits: {nvidia.com/gpu: 2}}
"""


def test_an_inference_service(tmp_path: Path) -> None:
    """The flags of KServe's own server become vLLM's; the model is the address."""
    study, findings = imported("kserve", written(tmp_path, SERVICE), Choices())
    engine = "{max_model_len: 8192, max_num_seqs: 128, enable_prefix_caching: true}"
    pool = f"{{name: llama, model: llama-3.1-8b, device: h100-sxm, replicas: 2, engine: {engine}}}"
    assert study == by_hand(f"- {pool}", study)
    assert settings(findings.without_effect) == ["--model_name llama"]


def test_an_llm_inference_service(tmp_path: Path) -> None:
    """Degrees come from parallelism, further flags from the variable of KServe's presets."""
    study, findings = imported("kserve", written(tmp_path, LLM_SERVICE), Choices())
    engine = "{max_model_len: 16384, enable_prefix_caching: true}"
    degrees = "tensor_parallel: 2, data_parallel: 4, expert_parallel: 8"
    pool = f"{{name: qwen, model: qwen3-235b-a22b, device: h200, replicas: 3, {degrees}, engine: {engine}}}"
    assert study == by_hand(f"- {pool}", study)
    assert "spec.router" in settings(findings.assumed)


def test_a_script_in_a_container(tmp_path: Path) -> None:
    """The server is the one that the shell starts; the cloud's machine type says which GPU it has."""
    study, findings = imported("kubernetes", written(tmp_path, f"{DEPLOYMENT}---\n\n---\n{SERVICE}"), Choices())
    engine = "{version: 0.11.2, max_model_len: 4096, enable_prefix_caching: true}"
    first, second = study.fleet.pools
    pool = f"{{name: shell, model: qwen3-8b, device: h100-sxm, replicas: 4, tensor_parallel: 2, engine: {engine}}}"
    assert first == by_hand(f"- {pool}", study).fleet.pools[0]
    assert second.name == "llama"
    assert "container proxy" in settings(findings.without_effect)


@pytest.mark.parametrize(
    ("text", "old", "new", "message"),
    [
        (
            SERVICE,
            "maxReplicas: 2",
            "maxReplicas: 8",
            ":8: spec.predictor.maxReplicas: autoscaling from 2 to 8 replicas",
        ),
        (SERVICE, "minReplicas: 2", "minReplicas: two", ":7: spec.predictor.minReplicas: must be a whole number of at"),
        (
            SERVICE,
            "{name: huggingface}",
            "{name: sklearn}",
            ":11: spec.predictor.model.modelFormat.name: 'sklearn' is not",
        ),
        (SERVICE, "args: [", "args: --x #[", ":13: spec.predictor.model.args: must be a list; got '--x'"),
        (SERVICE, "/gpu: ", "/mig-1g.10gb: ", ":14: nvidia.com/mig-1g.10gb: parts of a GPU are not modelled"),
        (SERVICE, "HBM3", "X", ""),
        (SERVICE, "NVIDIA-H100-80GB-HBM3", "Tesla-T4", ":9: the GPU 'Tesla-T4' is not in the library; give --device"),
        (LLM_SERVICE, "tensor: 2", "tensor: 8", ":16: asks for 8 GPUs, but its parallel degrees take 32"),
        (LLM_SERVICE, "uri: hf://Qwen/Qwen3-235B-A22B, ", "", ":6: spec.model.uri: is missing"),
        (LLM_SERVICE, "  replicas: 3", "  prefill: {replicas: 1}", ":7: spec.prefill: prefill in servers of its own"),
        (DEPLOYMENT, "kind: Deployment", "kind: RayService", ":2: RayService shell: servers inside Ray are not read"),
        (DEPLOYMENT, "replicas: 4", "replicas: 0", ":5: spec.replicas: is 0, so nothing serves"),
        (DEPLOYMENT, "exec vllm", "exec tgi", "the script starts 0 vLLM servers; one is needed"),
        (DEPLOYMENT, "  template:", "  templates:", ":4: spec.template: is missing"),
        (DEPLOYMENT, "kind: Deployment", "kinds: Deployment", ":2: kind: is missing"),
        (DEPLOYMENT, "metadata: {", "metadata: {{", "not valid YAML"),
    ],
)
def test_one_thing_wrong(tmp_path: Path, text: str, old: str, new: str, message: str) -> None:
    """One message with file, line and key."""
    assert old in text
    path = written(tmp_path, text.replace(old, new), "manifest.yaml")
    if not message:
        assert imported("kserve", path, Choices())[0].fleet.pools[0].device == "h100-sxm"
        return
    with pytest.raises(InputError) as error:
        imported("kserve", path, Choices())
    assert message in str(error.value)


def test_a_range_of_replicas_can_be_fixed(tmp_path: Path) -> None:
    """With a number of replicas from the user, an autoscaler has no effect."""
    scaler = "kind: HorizontalPodAutoscaler\nmetadata: {name: s}\nspec: {minReplicas: 1, maxReplicas: 9}\n"
    path = written(tmp_path, f"{scaler}---\n{SERVICE.replace('maxReplicas: 2', 'maxReplicas: 8')}")
    with pytest.raises(InputError, match="HorizontalPodAutoscaler s: autoscaling is not modelled"):
        imported("kserve", path, Choices())
    study, _ = imported("kserve", path, Choices(replicas=5))
    assert study.fleet.pools[0].replicas == 5
