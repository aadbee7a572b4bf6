"""The metrics page of a running server."""

from pathlib import Path

import pytest

from cluster_sim.deployment.server_pool import Choices
from cluster_sim.errors import InputError
from cluster_sim.serving.schedulers.vllm_options import KvOffload
from tests.deployment.imported import H100, by_hand, imported, settings, written

PAGE = """
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="meta-llama/Llama-3.1-8B-Instruct"} 3.0
# TYPE vllm:cache_config_info gauge
vllm:cache_config_info{block_size="16",cache_dtype="fp8",cpu_offload_gb="0",enable_prefix_caching="False",engine="0",\
gpu_memory_utilization="0.92",num_cpu_blocks="None",num_gpu_blocks="27000",sliding_window="None",swap_space="4"} 1.0
"""


def test_a_page_of_one_engine(tmp_path: Path) -> None:
    """The cache is the one that the server reports; what the page does not say is listed."""
    study, findings = imported("metrics", written(tmp_path, PAGE))
    engine = (
        "{num_kv_blocks: 27000, block_size: 16, kv_cache_dtype: fp8, gpu_memory_utilization: 0.92, "
        "enable_prefix_caching: false}"
    )
    assert study == by_hand(f"- {{name: main, model: llama-3.1-8b, device: h100-sxm, engine: {engine}}}", study)
    assert {"tensor_parallel", "max_num_seqs", "version"} <= set(settings(findings.assumed))


def test_a_page_with_host_memory(tmp_path: Path) -> None:
    """The connector's memory is an option; a page without it has none."""
    page = PAGE.replace('enable_prefix_caching="False"', 'enable_prefix_caching="True",kv_offloading_size="8.0"')
    study, _ = imported("metrics", written(tmp_path, page))
    assert study.fleet.pools[0].engine.kv_offload == KvOffload(cpu_gib=8)


def test_ranks_of_a_dense_model_are_replicas(tmp_path: Path) -> None:
    """A page of two engines: two replicas, and the smaller cache."""
    second = PAGE.splitlines()[-1].replace('engine="0"', 'engine="1"').replace("27000", "26000")
    study, _ = imported("metrics", written(tmp_path, f"{PAGE}{second}\n"))
    assert (study.fleet.pools[0].replicas, study.fleet.pools[0].engine.num_kv_blocks) == (2, 26000)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("vllm:cache_config_info{", "sglang:info{", ":1: vllm:cache_config_info is missing"),
        ('num_gpu_blocks="27000"', 'num_gpu_blocks="None"', ":6: num_gpu_blocks: must be a whole number"),
        ('num_gpu_blocks="27000",', "", ":6: num_gpu_blocks: is missing from vllm:cache_config_info"),
        ('"0.92"', '"92"', ":6: gpu_memory_utilization: must be a number above 0 and at most 1; got '92'"),
        ('cpu_offload_gb="0"', 'cpu_offload_gb="4"', ":6: cpu_offload_gb 4: weights in host memory are not modelled"),
        ("} 3.0", "} three", ":4: not a line of Prometheus' text format"),
        ("meta-llama/Llama-3.1-8B-Instruct", "chat", ":4: the model 'chat' is not in the library"),
        ("# HELP", "vllm:spec_decode_num_drafts_total 7\n# HELP", ":2: vllm:spec_decode_num_drafts_total: the server"),
    ],
)
def test_one_thing_wrong(tmp_path: Path, old: str, new: str, message: str) -> None:
    """One message with file, line and label."""
    assert old in PAGE
    with pytest.raises(InputError) as error:
        imported("metrics", written(tmp_path, PAGE.replace(old, new)), H100)
    assert message in str(error.value)


def test_the_gpu_is_never_on_a_page(tmp_path: Path) -> None:
    """Without --device the import is refused."""
    with pytest.raises(InputError, match="give --device"):
        imported("metrics", written(tmp_path, PAGE), Choices())
