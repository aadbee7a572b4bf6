"""Command lines of vLLM: every way to write a flag, wrappers, and what is refused."""

from pathlib import Path

import pytest

from cluster_sim.deployment.deployment_format import DEPLOYMENT_FORMATS
from cluster_sim.deployment.server_pool import Choices, pool_name
from cluster_sim.errors import InputError
from tests.deployment.imported import H100, by_hand, imported, settings, written

MODEL = "meta-llama/Llama-3.1-8B-Instruct"


@pytest.mark.parametrize(
    "command",
    [
        f"vllm serve {MODEL} --max-num-seqs 64 --max-model-len=8192",
        f"vllm serve --model {MODEL} --max_num_seqs=64 --max_model_len 8192",
        f"vllm serve '{MODEL}' --max-num-seq 64 --max-model-len 8K",
        f"# comment\nexport N=64\nvllm serve {MODEL} \\\n --max-num-seqs $N \\\n --max-model-len ${{LEN:-8192}} &\n",
        f'X=1 python3 -m vllm.entrypoints.openai.api_server --model "{MODEL}" --max-num-seqs 64 --max-model-len 8192',
        f"docker run -e T=$T vllm/vllm-openai:v0.15.0 --model {MODEL} --max-num-seqs 64 --max-model-len 8K",
        f"docker run --gpus all vllm/vllm-openai:latest {MODEL} --max-num-seqs 64 --max-model-len 8192",
        f"sudo docker run --rm vllm/vllm-openai bash -c 'vllm serve {MODEL} --max-num-seqs 64 --max-model-len 8192'",
        f"numactl -N 0 /opt/bin/vllm serve {MODEL} --max-num-seqs 32 --max-num-seqs 64 --max-model-len 8192 > log 2>&1",
        f'ARGS="--max-num-seqs 64 --max-model-len 8192"\nvllm serve {MODEL} $ARGS',
    ],
)
def test_ways_to_write_a_command(tmp_path: Path, command: str) -> None:
    """All of them start the same server."""
    study, findings = imported(
        "vllm-serve", written(tmp_path, command), Choices(device="h100-sxm", engine_version="0.15")
    )
    (pool,) = study.fleet.pools
    assert (pool.model, pool.replicas, pool.engine.max_num_seqs, pool.engine.max_model_len) == (
        "llama-3.1-8b",
        1,
        64,
        8192,
    )
    assert pool.engine.caches_prefixes, "vLLM caches prefixes unless it is told not to"
    assert findings.not_understood == findings.not_modelled == []


def test_degrees_and_experts(tmp_path: Path) -> None:
    """Experts are spread over all GPUs of a stage; ranks of a dense model are replicas."""
    flags = (
        "-tp 2 -dp=4 --enable-expert-parallel --async-scheduling --scheduling-policy priority --kv-cache-dtype fp8_e5m2"
    )
    study, _ = imported("vllm-serve", written(tmp_path, f"vllm serve Qwen/Qwen3-235B-A22B {flags}"))
    (pool,) = study.fleet.pools
    assert (pool.tensor_parallel, pool.data_parallel, pool.expert_parallel) == (2, 4, 8)
    assert (pool.engine.policy, pool.engine.kv_cache_dtype, pool.engine.plans_ahead) == ("priority", "fp8", True)
    dense, findings = imported("vllm-serve", written(tmp_path, f"vllm serve {MODEL} -dp 3 --enable-expert-parallel"))
    (pool,) = dense.fleet.pools
    assert (pool.replicas, pool.data_parallel, pool.expert_parallel) == (3, 1, 1)
    assert settings(findings.assumed)[0] == "data parallel 3"


def test_equal_commands_are_replicas_of_one_pool(tmp_path: Path) -> None:
    """Two commands that differ in nothing that counts are one pool; a third is a pool of its own."""
    lines = [f"vllm serve {MODEL} --port 1", f"vllm serve {MODEL} --port 2", f"vllm serve {MODEL} --max-num-seqs 8"]
    study, _ = imported("vllm-serve", written(tmp_path, "\n".join(lines)))
    assert [(pool.name, pool.replicas) for pool in study.fleet.pools] == [("main", 2), ("main-2", 1)]


def test_a_loop_is_counted_once_and_said(tmp_path: Path) -> None:
    """Nobody knows how often a loop starts its server; what follows the loop is outside it."""
    text = f"for i in 0 1\ndo\n  vllm serve {MODEL} -O3 --port 80$i &\ndone\nvllm serve {MODEL} --max-num-seqs 8\n"
    study, findings = imported("vllm-serve", written(tmp_path, text))
    assert [pool.replicas for pool in study.fleet.pools] == [1, 1]
    assert [finding.place[-2:] for finding in findings.assumed if finding.setting == "loop"] == [":3"]


def test_unknown_flags_are_listed_with_the_nearest(tmp_path: Path) -> None:
    """A flag that nobody knows does not stop the import; its values go with it."""
    _, findings = imported("vllm-serve", written(tmp_path, f"vllm serve {MODEL} --max-num-sequences 5 --zzz a b"))
    assert [str(finding).partition(":1: ")[2] for finding in findings.not_understood] == [
        "--max-num-sequences 5: unknown flag; the nearest that is known is --max-num-seqs",
        "--zzz a b: unknown flag",
    ]


@pytest.mark.parametrize(
    ("flags", "engine"),
    [
        ("--enforce-eager", "enforce_eager: true"),
        ("--no-enforce-eager", "enforce_eager: false"),
        ("--kv-offloading-size 8 --kv-offloading-backend native", "kv_offload: {cpu_gib: 8}"),
        ("--kv_offloading_size=0", ""),
    ],
)
def test_eager_mode_and_host_memory_are_options(tmp_path: Path, flags: str, engine: str) -> None:
    """Both are options of the engine; no host memory is no connector."""
    study, _ = imported("vllm-serve", written(tmp_path, f"vllm serve {MODEL} {flags}"), H100)
    engine = "{enable_prefix_caching: true" + (f", {engine}" if engine else "") + "}"
    assert study == by_hand(f"- {{name: main, model: llama-3.1-8b, device: h100-sxm, engine: {engine}}}", study)


def test_what_is_not_modelled_is_refused(tmp_path: Path) -> None:
    """The message names every such flag with its place and reason; told so, the import goes on and lists them."""
    text = f"vllm serve {MODEL} \\\n --cpu-offload-gb 4 \\\n --enable-dbo --api-server-count 1"
    path = written(tmp_path, "VLLM_ATTENTION_BACKEND=FLASHINFER " + text)
    with pytest.raises(InputError) as error:
        imported("vllm-serve", path)
    lines = str(error.value).splitlines()
    assert lines[0].startswith(f"{path}:1: VLLM_ATTENTION_BACKEND=FLASHINFER: step times are")
    assert lines[1] == f"{path}:2: --cpu-offload-gb 4: weights in host memory are not modelled"
    assert lines[2].startswith(f"{path}:3: --enable-dbo: ")
    assert "--allow-unmodelled" in lines[-1]
    _, findings = imported("vllm-serve", path, allow_unmodelled=True)
    assert len(findings.not_modelled) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (f"{MODEL} --max-num-seqs many", "1: --max-num-seqs: must be a whole number of at least 1; got 'many'"),
        (f"{MODEL} --gpu-memory-utilization 95", "1: --gpu-memory-utilization: must be a number above 0 and at most 1"),
        (f"{MODEL} --kv-offloading-size lots", "1: --kv-offloading-size: must be a number of at least 0; got 'lots'"),
        (f"{MODEL} --kv-offloading-backend lmcache", "1: --kv-offloading-backend lmcache: only vLLM's own connector"),
        (f"{MODEL} --max-num-seqs", "1: --max-num-seqs: its value is missing"),
        (f"{MODEL} --max-num 5", "1: --max-num: stands for several flags: --max-num-batched-tokens"),
        (f"{MODEL} --kv-cache-dtype fp4", "1: --kv-cache-dtype fp4: of these types some are modelled: auto"),
        (f"{MODEL} --enable-chunked-prefill=maybe", "must be a switch alone, or have true or false; got 'maybe'"),
        (f"{MODEL} --scheduling-policy sjf", "1: --scheduling-policy: must be fcfs or priority; got 'sjf'"),
        (f"{MODEL} --quantization awq", "llama-3.1-8b is not quantised in the library; give --model"),
        (f"{MODEL} --served-model-name 'chat", "1: a quote ' is not closed"),
        ("--max-num-seqs 5", "1: names no model; give --model"),
        ("example-org/Small-3B", "1: the model 'example-org/Small-3B' is not in the library"),
        ("microsoft/Phi-5", "the nearest is phi-4"),
        ("$MODEL", "1: the model is '$MODEL', and the file gives the variable no value"),
    ],
)
def test_wrong_commands(tmp_path: Path, arguments: str, message: str) -> None:
    """One message with file, line and flag."""
    path = written(tmp_path, f"vllm serve {arguments}\n")
    with pytest.raises(InputError) as error:
        imported("vllm-serve", path)
    assert message in str(error.value)
    assert str(error.value).startswith(f"{path}:")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "starts no vLLM server: `vllm serve MODEL ...`"),
        ("python -m sglang.launch_server --model x", "starts no vLLM server"),
        ("apiVersion: apps/v1\nkind: Deployment\n", "it looks like the format kserve"),
    ],
)
def test_other_files(tmp_path: Path, text: str, message: str) -> None:
    """A file that starts no server is refused, with the format that it may be."""
    with pytest.raises(InputError, match="starts no vLLM server") as error:
        imported("vllm-serve", written(tmp_path, text))
    assert message in str(error.value)


def test_a_gpu_is_needed(tmp_path: Path) -> None:
    """A command line never names the GPU's type."""
    with pytest.raises(InputError, match="nothing names the type of the GPU; give --device"):
        imported("vllm-serve", written(tmp_path, f"vllm serve {MODEL}"), Choices())


def test_names_of_other_precisions_and_trainings(tmp_path: Path) -> None:
    """An fp8 checkpoint of a model in the library is that model, quantised, and the study says so."""
    path = written(
        tmp_path, "vllm serve RedHatAI/Meta-Llama-3.1-8B-Instruct-FP8-dynamic --quantization compressed-tensors"
    )
    study, findings = imported("vllm-serve", path)
    assert (study.fleet.pools[0].model, study.fleet.pools[0].engine.quantization) == ("llama-3.1-8b", "fp8")
    assert ", in fp8" in findings.assumed[0].text
    other, _ = imported("vllm-serve", written(tmp_path, "vllm serve mistralai/Mistral-7B-Instruct-v0.3"))
    assert other.fleet.pools[0].model == "mistral-7b-v0.2", "without the window of v0.1"


@pytest.mark.parametrize("name", DEPLOYMENT_FORMATS.names())
def test_every_format_refuses_what_is_none(tmp_path: Path, name: str) -> None:
    """A folder, a missing file, bytes that are no text, an empty file and a list end with one message each."""
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    for path in (
        tmp_path,
        tmp_path / "absent",
        tmp_path / "bytes",
        written(tmp_path, ""),
        written(tmp_path, "- 1\n", "l"),
    ):
        with pytest.raises(InputError, match=str(path)):
            imported(name, path, H100)


@pytest.mark.parametrize(
    ("name", "model", "quantization"),
    [
        ("Qwen/Qwen3-32B-AWQ --quantization awq_marlin", "qwen3-32b", "int4"),
        ("RedHatAI/Qwen3-8B-quantized.w4a16", "qwen3-8b", "int4"),
        ("nvidia/Llama-3.1-405B-Instruct-NVFP4", "llama-3.1-405b", "fp4"),
        ("Qwen/Qwen2.5-72B-Instruct-GPTQ-Int8", "qwen2.5-72b", "int8"),
        ("meta-llama/Llama-3.1-8B", "llama-3.1-8b", None),
        ("openai/gpt-oss-120b --quantization mxfp4", "gpt-oss-120b", None),
        ("Qwen/Qwen3-8B --quantization fp8", "qwen3-8b", "fp8"),
    ],
)
def test_precisions(tmp_path: Path, name: str, model: str, quantization: str | None) -> None:
    """A precision in the name or in a flag that the library's model has not becomes the pool's."""
    pool = imported("vllm-serve", written(tmp_path, f"vllm serve {name}"))[0].fleet.pools[0]
    assert (pool.model, pool.engine.quantization) == (model, quantization)


def test_names_are_cut_to_what_a_study_takes() -> None:
    """Of a name of 300 characters the first 90 are kept, which leaves room for the number of a second such pool."""
    assert pool_name("org/" + "a" * 300) == "a" * 90
    assert pool_name("a" * 89 + "." + "b") == "a" * 89
