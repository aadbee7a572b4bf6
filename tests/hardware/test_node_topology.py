"""Tests of the links inside and between nodes, and of what collectives pass."""

from dataclasses import replace

import pytest

from cluster_sim.errors import InputError
from cluster_sim.hardware.batch_shape import BatchShape
from cluster_sim.hardware.device import load_device
from cluster_sim.hardware.node_topology import GpuLinks, GroupLink, NodeTopology, node_topology
from cluster_sim.hardware.predictors.kinds.auto import AutoOptions
from cluster_sim.hardware.predictors.kinds.linear import LinearOptions
from cluster_sim.hardware.predictors.kinds.physical import PhysicalOptions
from cluster_sim.hardware.predictors.kinds.roofline import RooflineOptions
from cluster_sim.hardware.predictors.pool_predictor import build_predictor
from cluster_sim.hardware.predictors.predictor_interface import PredictorOptions
from tests.hardware.replicas import hardware

A100, H100, L40S, GB200 = (load_device(name) for name in ("a100-80gb", "h100-sxm", "l40s", "gb200"))


def nodes(device: str, gpu_links: GpuLinks | None, gpus: int | None = None) -> NodeTopology:
    """Return the nodes of a device, with the network of its file."""
    loaded = load_device(device)
    return node_topology(loaded, gpus, gpu_links, loaded.network)


@pytest.mark.parametrize(
    ("gpu_links", "gpus", "expected"),
    [
        ("all_to_all", 8, GroupLink(4.5e11, 4.3)),
        ("pairs", 2, GroupLink(3.0e11, 5.0)),
        # The ring passes PCIe between the pairs, and the engine's own all-reduce is off: 6.6 + 2 * 3 * 1.0 us.
        ("pairs", 4, GroupLink(6.4e10, 12.6, is_custom=False)),
        ("none", 2, GroupLink(6.4e10, 5.6)),
        ("none", 8, GroupLink(6.4e10, 20.6, is_custom=False)),
    ],
)
def test_links_of_a_group_by_hand(gpu_links: GpuLinks, gpus: int, expected: GroupLink) -> None:
    """Of an H100's links the slowest in the ring counts; without NVLink between all, NCCL's ring takes its time."""
    link = nodes("h100-sxm", gpu_links).group_link(range(gpus))
    assert link.latency_us == pytest.approx(expected.latency_us)
    assert (link.bandwidth_bytes_per_s, link.is_custom) == (expected.bandwidth_bytes_per_s, expected.is_custom)


def test_groups_that_cross_nodes() -> None:
    """Over two nodes of four the network counts: 6.6 + 2 * 7 * 2.7 us."""
    link = nodes("h100-sxm", None, gpus=4).group_link(range(8))
    assert link == GroupLink(5.0e10, pytest.approx(44.4), is_custom=False)


def test_more_than_eight_gpus_have_no_custom_all_reduce() -> None:
    """In a node of 72 the engine's own all-reduce ends at eight: 6.6 + 2 * 15 * 0.6 us."""
    assert nodes("gb200", "all_to_all").group_link(range(8)).is_custom
    assert nodes("gb200", "all_to_all").group_link(range(16)) == GroupLink(9e11, pytest.approx(24.6), is_custom=False)


@pytest.mark.parametrize(
    ("device", "gpu_links", "message"),
    [
        ("l40s", "all_to_all", "node.gpu_links: nothing but PCIe joins the GPUs of a node of l40s; use none"),
        ("l40s", "pairs", "node.gpu_links: l40s has no NVLink bridge; use none"),
        ("a40", "all_to_all", "use none, or pairs with NVLink bridges"),
        ("gb200", "none", "node.gpu_links: the file of gb200 names no PCIe link"),
    ],
)
def test_links_that_a_device_lacks_are_refused(device: str, gpu_links: GpuLinks, message: str) -> None:
    """The message names what is possible."""
    with pytest.raises(InputError, match=message):
        nodes(device, gpu_links)


@pytest.mark.parametrize("options", [RooflineOptions(), PhysicalOptions(), AutoOptions()])
def test_all_reduces_slow_down_with_the_links(options: PredictorOptions) -> None:
    """Steps over four GPUs: the device's own links equal all to all; pairs are slower, and PCIe is as slow as pairs."""
    plain = hardware("llama-3.1-70b", "h100-sxm", tensor_parallel=4)
    batch = BatchShape(decodes=32, decode_kv_tokens=32_000)

    def step_ns(gpu_links: GpuLinks | None) -> int:
        return build_predictor(options, replace(plain, topology=nodes("h100-sxm", gpu_links))).step_ns(batch)

    own = build_predictor(options, plain).step_ns(batch)
    assert own == step_ns(None) == step_ns("all_to_all")
    assert own < step_ns("pairs") == step_ns("none")
    # At least what the ring's latency adds: 160 all-reduces, each 12.6 - 4.3 us longer.
    assert step_ns("pairs") - own > 160 * 8_300


@pytest.mark.parametrize("options", [RooflineOptions(), PhysicalOptions()])
def test_stage_links_by_place(options: PredictorOptions) -> None:
    """With bridges, stages 0 and 1 are joined, 1 and 2 are not, and 3 and 4 stand in different nodes."""
    plain = hardware("llama-3.1-70b", "h100-sxm", pipeline_parallel=5)
    topology = nodes("h100-sxm", "pairs", gpus=4)
    predictor = build_predictor(options, replace(plain, topology=topology))
    bridge, pcie, _, network, _ = (predictor.stage_link_ns(4096, stage) for stage in range(5))
    assert bridge < pcie < network
    assert bridge == predictor.stage_link_ns(4096, 2)


def test_measured_step_times_know_no_links() -> None:
    """A predictor of whole replicas refuses links of several GPUs, and takes them for one: they change nothing."""
    topology = nodes("h100-sxm", "pairs")
    options = LinearOptions(alpha_us=1.0)
    one = replace(hardware(), topology=topology)
    assert build_predictor(options, one).step_ns(BatchShape(decodes=1, decode_kv_tokens=9)) > 0
    with pytest.raises(InputError, match=r"^node: predictor linear knows step times as measured"):
        build_predictor(options, replace(hardware(tensor_parallel=2), topology=topology))
