"""The roofline: hand-computed operators, floors, and one kernel for single and repeated decode steps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster_sim.errors import InputError
from cluster_sim.hardware.batch_shape import BatchShape
from cluster_sim.hardware.cuda_graphs import graph_tokens
from cluster_sim.hardware.device import load_device
from cluster_sim.hardware.predictors.kinds.roofline import RooflineEfficiency, RooflinePredictor
from tests.hardware.replicas import hardware

PREDICTORS = {
    "dense": RooflinePredictor(hardware("llama-3-8b", "h100-sxm")),
    "tp": RooflinePredictor(hardware("llama-2-70b", "a100-80gb", 4)),
    "pp": RooflinePredictor(hardware("codellama-34b", "h200", 1, 4)),
    "moe": RooflinePredictor(hardware("mixtral-8x7b", "h100-sxm", 2)),
    "window": RooflinePredictor(hardware("gpt-oss-20b", "h100-sxm")),
    "latent": RooflinePredictor(hardware("deepseek-v3", "b200", 8)),
    "sparse": RooflinePredictor(hardware("deepseek-v3.2", "b200", 8, 3)),
    "linear": RooflinePredictor(hardware("qwen3-next-80b-a3b", "h200", 2, 5)),
    "mamba": RooflinePredictor(hardware("nemotron-h-8b", "h100-sxm", 1, 3)),
}


@pytest.mark.parametrize("name", sorted(PREDICTORS))
@settings(max_examples=15, deadline=None)
@given(
    decodes=st.integers(1, 1024),
    kv=st.integers(0, 40_000),
    steps=st.integers(1, 1100),
    stage=st.integers(0, 3),
)
def test_decode_run_is_repeated_steps(name: str, decodes: int, kv: int, steps: int, stage: int) -> None:
    """Every element of a decode run equals the single step of the same shape to the bit."""
    predictor = PREDICTORS[name]
    stage %= predictor.stages
    run = predictor.decode_run_ns(decodes, kv * decodes, steps, stage)
    assert run.dtype == np.int64
    assert run.shape == (steps,)
    single = [predictor.step_ns(BatchShape(decodes, kv * decodes + i * decodes), stage) for i in range(steps)]
    assert run.tolist() == single


@pytest.mark.parametrize("name", sorted(PREDICTORS))
@settings(max_examples=40, deadline=None)
@given(
    decodes=st.integers(0, 512),
    kv=st.integers(0, 40_000),
    prefills=st.lists(st.tuples(st.integers(1, 4096), st.integers(0, 30_000)), max_size=4),
    drafts=st.integers(0, 8),
    encoder=st.integers(0, 2000),
    stage=st.integers(0, 3),
)
def test_floor_bounds_every_step(
    name: str,
    decodes: int,
    kv: int,
    prefills: list[tuple[int, int]],
    drafts: int,
    encoder: int,
    stage: int,
) -> None:
    """No step of any shape is shorter than the floor, and one decode without cache is within 1 ns of it."""
    predictor = PREDICTORS[name]
    stage %= predictor.stages
    if not decodes and not prefills:
        decodes = 1
    shape = BatchShape(decodes, kv * decodes, prefills, len(prefills), drafts * decodes, encoder)
    assert predictor.step_ns(shape, stage) >= predictor.floor_ns(stage) >= 1
    assert predictor.step_ns(BatchShape(1, 0), stage) - predictor.floor_ns(stage) <= 1


def test_decode_step_by_hand() -> None:
    """A decode of llama-3-8b reads 15.0 GB of weights and 131,072 bytes a cached token at the stated rates."""
    perfect = RooflineEfficiency(1, 1, 1, 1, 1, 0, 0, 0, 0)
    device = load_device("h100-sxm")
    predictor = RooflinePredictor(hardware("llama-3-8b", device), perfect)
    layer = 4096 * (2 * 4096 + 2 * 1024) + 3 * 4096 * 14336
    weights = 2 * (32 * (layer + 2 * 4096) + 128256 * 4096)
    activations = 4 * 32 * 4096 * 2
    seconds = (weights + activations + 1000 * 2 * 32 * 8 * 128 * 2) / device.memory_bandwidth_bytes_per_s
    assert predictor.step_ns(BatchShape(1, 1000)) == round(seconds * 1e9)


def test_prefill_by_hand() -> None:
    """A long prefill is bound by arithmetic: two operations a weight and token, and the causal triangle."""
    perfect = RooflineEfficiency(1, 1, 1, 1, 1, 0, 0, 0, 0)
    device = load_device("h100-sxm")
    predictor = RooflinePredictor(hardware("llama-3-8b", device), perfect)
    layer = 4096 * (2 * 4096 + 2 * 1024) + 3 * 4096 * 14336
    operations = 2 * 8192 * 32 * layer + 4 * 32 * 32 * 128 * 8192 * (8192 + 1) / 2
    head = 2 * 128256 * 4096 / device.memory_bandwidth_bytes_per_s
    expected = operations / 989.4e12 + head
    assert predictor.step_ns(BatchShape(0, 0, [(8192, 0)], 1)) == pytest.approx(expected * 1e9, rel=1e-9)


def test_window_bounds_the_cache_read() -> None:
    """Beyond the window only the layers with full attention still grow with the cache."""
    predictor = PREDICTORS["window"]
    within = predictor.step_ns(BatchShape(1, 100)) - predictor.step_ns(BatchShape(1, 0))
    beyond = predictor.step_ns(BatchShape(1, 10_100)) - predictor.step_ns(BatchShape(1, 10_000))
    assert beyond == pytest.approx(within / 2, abs=2)


def test_fp8_weights_halve_the_read() -> None:
    """Quantising the projections to fp8 makes a decode step shorter, by less than half (the head stays)."""
    plain = RooflinePredictor(hardware()).floor_ns()
    quantized = RooflinePredictor(hardware(weight_dtype="fp8")).floor_ns()
    assert 0.5 * plain < quantized < 0.75 * plain


def test_stage_link_grows_with_tokens() -> None:
    """Sending 100 tokens of 8,192 two-byte numbers takes the latency and 1.6 MB over the link."""
    predictor = PREDICTORS["pp"]
    assert predictor.stage_link_ns(100, 0) == round(4500 + 100 * 8192 * 2 / (450e9 * 0.6) * 1e9)


def test_cuda_graph_padding() -> None:
    """Batches are padded to captured sizes: 3 costs what 4 does but for its own sampling, 513 is not padded."""
    assert [graph_tokens(n) for n in (1, 2, 3, 5, 8, 250, 257, 505, 512, 513)] == [
        1,
        2,
        4,
        8,
        8,
        256,
        272,
        512,
        512,
        513,
    ]
    predictor = PREDICTORS["dense"]
    assert predictor.tokens_cost(5, 0) == predictor.tokens_cost(8, 0) < predictor.tokens_cost(9, 0)


def test_degrees_that_do_not_divide_are_refused() -> None:
    """TP that does not divide the heads and more stages than layers are input errors with the numbers."""
    with pytest.raises(InputError, match="tensor_parallel 3 does not divide the 32 attention heads"):
        hardware(tensor_parallel=3)
    with pytest.raises(InputError, match="pipeline_parallel 33: llama-3-8b has 32 layers"):
        hardware(pipeline_parallel=33)
