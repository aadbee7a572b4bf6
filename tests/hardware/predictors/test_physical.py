"""The physical step model: its terms by hand, one kernel, and floors."""

from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster_sim.errors import InputError
from cluster_sim.hardware.batch_shape import BatchShape
from cluster_sim.hardware.device import load_device
from cluster_sim.hardware.model import load_model
from cluster_sim.hardware.predictors.calibration_file import (
    load_calibration,
    load_operator_ratios,
)
from cluster_sim.hardware.predictors.coefficients import Coefficients
from cluster_sim.hardware.predictors.kinds.physical import PhysicalOptions, PhysicalPredictor
from cluster_sim.hardware.predictors.kinds.roofline import RooflineOptions
from cluster_sim.hardware.predictors.pool_predictor import build_predictor
from cluster_sim.hardware.replica_hardware import ExpertSharding
from cluster_sim.hardware.sharding import shard, shards
from tests.hardware.replicas import hardware

BASE = {
    "step_us": 0.0,
    "layer_us": 0.0,
    "gemm_memory_ratio": 1.0,
    "moe_memory_ratio": 1.0,
    "kv_memory_ratio": 1.0,
    "gemm_flops_ratio": 1.0,
    "attention_flops_ratio": 1.0,
}
CASES = [
    ("llama-3-8b", "h100-sxm", 1, 1),
    ("llama-2-70b", "a100-80gb", 4, 1),
    ("mixtral-8x7b", "h100-sxm", 2, 1),
    ("gpt-oss-120b", "b200", 1, 1),
    ("deepseek-v3", "h200", 8, 1),
    ("deepseek-v3.2", "h200", 8, 3),
    ("qwen3-next-80b-a3b", "h200", 2, 5),
    ("nemotron-h-8b", "h100-sxm", 1, 3),
    ("codellama-34b", "l40s", 2, 2),
    ("phi-mini-moe", "a6000", 1, 1),
    ("gemma-3-12b", "a6000", 1, 2),
]


def built(model: str, device: str, tp: int = 1, pp: int = 1, **changes: float) -> PhysicalPredictor:
    """Build a predictor whose coefficients are perfect except for ``changes``."""
    return PhysicalPredictor(Coefficients(**{**BASE, **changes}), hardware(model, device, tp, pp))


@cache
def fitted(model: str, device: str, tp: int, pp: int) -> PhysicalPredictor:
    """Build each predictor of the shipped calibration once."""
    coefficients = load_calibration("vllm").resolve(load_device(device), "0.15")
    return PhysicalPredictor(coefficients, hardware(model, device, tp, pp))


@pytest.mark.parametrize(("model", "device", "tp", "pp"), CASES)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_runs_floors_and_purity(model: str, device: str, tp: int, pp: int, data: st.DataObject) -> None:
    """Runs equal steps to the bit, nothing lies below the floor, and asking in another order changes nothing."""
    predictor = fitted(model, device, tp, pp)
    stage = data.draw(st.integers(0, pp - 1))
    decodes, kv = data.draw(st.integers(1, 512)), data.draw(st.integers(0, 2_000_000))
    steps = data.draw(st.integers(1, 100))
    run = predictor.decode_run_ns(decodes, kv, steps, stage)
    assert run.tolist() == [predictor.step_ns(BatchShape(decodes, kv + i * decodes), stage) for i in range(steps)]
    prefills = data.draw(st.lists(st.tuples(st.integers(1, 8192), st.integers(0, 60_000)), max_size=3))
    mixed = predictor.step_ns(BatchShape(decodes, kv, prefills, len(prefills)), stage)
    assert mixed >= int(run[0]) >= predictor.floor_ns(stage) >= predictor.step_ns(BatchShape(1, 0), stage) - 1
    fresh = PhysicalPredictor(predictor.coefficients, predictor.hardware)
    assert fresh.step_ns(BatchShape(decodes, kv, prefills, len(prefills)), stage) == mixed


def test_each_term_by_hand() -> None:
    """Every coefficient moves a step by exactly what the formula says."""
    plain = built("mixtral-8x7b", "h100-sxm", 2)
    shape = BatchShape(10, 5000)
    mixed = BatchShape(10, 5000, [(100, 0)], 1)
    before, before_mixed = plain.step_ns(shape), plain.step_ns(mixed)

    def added(batch: BatchShape, base: int, **changes: float) -> int:
        return built("mixtral-8x7b", "h100-sxm", 2, **changes).step_ns(batch) - base

    assert added(shape, before, step_us=340) == pytest.approx(340_000, abs=1)
    assert added(shape, before, layer_us=42) == pytest.approx(32 * 42_000, abs=1)
    assert added(shape, before, moe_layer_us=66) == pytest.approx(32 * 66_000, abs=1)
    assert added(shape, before, mix_layer_us=5) == 0
    assert added(mixed, before_mixed, mix_layer_us=5) == pytest.approx(32 * 5_000, abs=1)
    assert added(mixed, before_mixed, sequence_us=6) == pytest.approx(11 * 6_000, abs=1)
    assert added(mixed, before_mixed, token_us=0.08) == pytest.approx(110 * 80, abs=1)
    assert added(shape, before, all_reduce_us=7) == pytest.approx(64 * 7_000, abs=1)
    kv_ns = 5000 * 32 * 2 * 4 * 128 * 2 / 3.352e12 * 1e9
    assert added(shape, before, kv_memory_ratio=0.5) == pytest.approx(kv_ns, abs=1)


def test_experts_read_by_expectation() -> None:
    """One token reads k of E experts, a crowd reads all of them."""
    fast, slow = built("mixtral-8x7b", "h100-sxm"), built("mixtral-8x7b", "h100-sxm", moe_memory_ratio=0.5)
    experts_ns = 32 * 8 * 3 * 4096 * 14336 * 2 / 3.352e12 * 1e9
    one = slow.step_ns(BatchShape(1, 0)) - fast.step_ns(BatchShape(1, 0))
    many = slow.step_ns(BatchShape(60, 0)) - fast.step_ns(BatchShape(60, 0))
    assert one == pytest.approx(experts_ns * 2 / 8, rel=0.01)
    assert many == pytest.approx(experts_ns, rel=0.02)


def test_sampler_cost_only_where_sampling_sorts() -> None:
    """Llama-3.1 samples with top-p by default and moves bytes per sequence and entry; Mistral-Nemo does not."""
    for name, entries in (("llama-3.1-8b", 128_256), ("mistral-nemo", 0)):
        for device, bandwidth in (("h100-sxm", 3.352e12), ("l40s", 0.864e12)):
            added = built(name, device, sort_bytes_per_entry=500).step_ns(BatchShape(7, 0))
            added -= built(name, device).step_ns(BatchShape(7, 0))
            assert added == pytest.approx(7 * entries * 500 / bandwidth * 1e9, abs=1)


def test_constants_of_what_only_some_models_compute() -> None:
    """Sorting costs a constant a step beside its traffic; norms of queries and keys a constant a layer."""
    for name, sorts, layers in (("qwen3-14b", 1, 40), ("llama-3.1-8b", 1, 0), ("mistral-nemo", 0, 0)):
        before = built(name, "h100-sxm").step_ns(BatchShape(7, 0))
        for changes, count in (({"sort_us": 200}, sorts * 200), ({"qk_norm_us": 5}, layers * 5)):
            assert built(name, "h100-sxm", **changes).step_ns(BatchShape(7, 0)) - before == pytest.approx(
                1000 * count, abs=1
            )


def test_decodes_fill_tiles_alone_beside_a_prefill() -> None:
    """With FlashAttention 2 a cached token costs 64 rows of arithmetic per head beside a prefill, where that exceeds
    reading it: 107.6 against 64.3 ns for Llama-3-8B on A100; decodes among themselves stay packed.
    """
    packed, lone = built("llama-3-8b", "a100-80gb"), built("llama-3-8b", "a100-80gb", lone_tile_rows=64)
    decodes, mixed = BatchShape(10, 50_000), BatchShape(10, 50_000, [(16, 0)], 1)
    assert lone.step_ns(decodes) == packed.step_ns(decodes)
    tile_ns, read_ns = 32 * 4 * 32 * 128 * 64 / 312e12 * 1e9, 32 * 2 * 8 * 128 * 2 / 2.039e12 * 1e9
    assert lone.step_ns(mixed) - packed.step_ns(mixed) == pytest.approx(50_000 * (tile_ns - read_ns), abs=1)
    slow_memory = built("llama-2-7b", "l40s", lone_tile_rows=64).step_ns(mixed)
    assert slow_memory == built("llama-2-7b", "l40s").step_ns(mixed)


def test_windows_leave_every_query_head_a_tile() -> None:
    """With FlashAttention 2 decodes of layers with a sliding window are never packed: of Phi-mini-MoE on A6000 a cached
    token costs the tile's 216.8 ns where one reading takes 170.7, and four readings, one for each head of a key head,
    once the 6 MB of L2 do not hold that head's 512 bytes a token.
    """
    packed, lone = built("phi-mini-moe", "a6000"), built("phi-mini-moe", "a6000", lone_tile_rows=64)
    read_ns, tile_ns = 32 * 2 * 8 * 128 * 2 / 768e9 * 1e9, 32 * 4 * 32 * 128 * 64 / 154.8e12 * 1e9
    for shape, cost_ns in ((BatchShape(50, 11_718), tile_ns), (BatchShape(50, 11_719), 4 * read_ns)):
        added = lone.step_ns(shape) - packed.step_ns(shape)
        assert added == pytest.approx(shape.decode_kv_tokens * (cost_ns - read_ns), abs=1)
    dense, mixed = built("llama-3-8b", "a6000", lone_tile_rows=64), BatchShape(50, 20_000, [(16, 0)], 1)
    assert dense.step_ns(BatchShape(50, 20_000)) == built("llama-3-8b", "a6000").step_ns(BatchShape(50, 20_000))
    added = dense.step_ns(mixed) - built("llama-3-8b", "a6000").step_ns(mixed)
    assert added == pytest.approx(20_000 * 3 * read_ns, abs=1)


def test_latent_attention_has_a_constant_per_layer() -> None:
    """Ten microseconds in each of DeepSeek's 61 layers are 610 us; a plain model does not have them."""
    device = load_device("h200")
    base = load_calibration("vllm").resolve(device)
    with_constant = base.model_copy(update={"latent_layer_us": 10.0})
    for name, tensor, expected_ns in (("deepseek-v3", 8, 610_000), ("llama-3.1-8b", 1, 0)):
        replica = hardware(name, device, tensor)
        without, added = (PhysicalPredictor(coefficients, replica) for coefficients in (base, with_constant))
        assert added.step_ns(BatchShape(4, 400)) - without.step_ns(BatchShape(4, 400)) == pytest.approx(
            expected_ns, abs=1
        )


def test_experts_apart_are_read_and_computed_one_after_the_other() -> None:
    """With a rate of their own, Mixtral's experts cost reading and arithmetic in full, and the projections theirs."""
    device, model = load_device("h100-sxm"), load_model("mixtral-8x7b")
    base = load_calibration("vllm").resolve(device)
    apart = PhysicalPredictor(base.model_copy(update={"moe_flops_ratio": 0.5}), hardware(model, device, 2))
    half = PhysicalPredictor(base.model_copy(update={"moe_flops_ratio": 0.25}), hardware(model, device, 2))
    part = shard(hardware(model, device, 2))
    flops = 2.0 * 32 * 2 * model.expert_parameters / 2 * 1000
    added_ns = flops / (0.25 * 9.89e14) * 1e9 - flops / (0.5 * 9.89e14) * 1e9
    assert half.tokens_cost(1000, 0) - apart.tokens_cost(1000, 0) == pytest.approx(added_ns, rel=2e-3)
    joint = PhysicalPredictor(base, hardware(model, device, 2))
    read_ns = part.expert_weight_bytes / (base.moe_memory_ratio * device.memory_bandwidth_bytes_per_s) * 1e9
    assert apart.tokens_cost(10_000, 0) > joint.tokens_cost(10_000, 0) + read_ns


def test_quantising_activations_costs_launches_beside_prompts_alone() -> None:
    """Ten microseconds in each of 32 layers for weights in fp8, none in bf16 or without a prompt."""
    device = load_device("h100-sxm")
    base = load_calibration("vllm").resolve(device)
    prompt, decodes = BatchShape(prefills=[(100, 0)], completed_prefills=1), BatchShape(4, 400)
    for dtype, expected_ns in (("fp8", 320_000), (None, 0)):
        model = load_model("llama-3.1-8b").model_copy(update={"weight_dtype": dtype})
        without = PhysicalPredictor(base, hardware(model, device))
        added = PhysicalPredictor(base.model_copy(update={"quantize_layer_us": 10.0}), hardware(model, device))
        assert added.step_ns(prompt) - without.step_ns(prompt) == pytest.approx(expected_ns, abs=1)
        assert added.step_ns(decodes) == without.step_ns(decodes)


def eager(model: str, tensor_parallel: int = 1, **changes: float) -> PhysicalPredictor:
    """Return the predictor of an engine without CUDA graphs, whose launches take what ``changes`` say."""
    with_graphs = built(model, "h100-sxm", tensor_parallel, **changes)
    settings = replace(with_graphs.hardware.engine, enforce_eager=True)
    return PhysicalPredictor(with_graphs.coefficients, replace(with_graphs.hardware, engine=settings))


def test_launches_set_the_pace_of_an_eager_step() -> None:
    """32 layers of 900 us and 5 us a sequence are 28.85 ms for 10 sequences, and a step of Llama-3.1-8B on H100 that
    would take 5 ms takes that; experts add their own; a prefill or a cache that takes longer hides them.
    """
    predictor = eager("llama-3.1-8b", launch_layer_us=900, launch_moe_layer_us=100, launch_sequence_us=5)
    assert predictor.step_ns(BatchShape(10, 5000)) == 28_850_000
    assert predictor.decode_run_ns(10, 5000, 3).tolist() == [28_850_000] * 3
    assert predictor.step_ns(BatchShape(9, 5000, [(8, 0)], 1)) == 28_850_000
    assert predictor.floor_ns() == 28_805_000
    experts = eager("mixtral-8x7b", 2, launch_layer_us=900, launch_moe_layer_us=100)
    assert experts.step_ns(BatchShape(10, 5000)) == 32_000_000
    graphs, long = built("llama-3.1-8b", "h100-sxm"), BatchShape(10, 2_000_000)
    assert predictor.step_ns(long) == graphs.step_ns(long) > 28_850_000
    assert built("llama-3.1-8b", "h100-sxm", launch_layer_us=900).step_ns(long) == graphs.step_ns(long)


def test_the_gap_between_steps_comes_on_top() -> None:
    """Where the next step is planned after the last, 2 ms and 15 us a sequence are added, with CUDA graphs, without,
    and where launches set the pace.
    """
    gap = {"gap_us": 2000.0, "gap_sequence_us": 15.0}
    for launch_us in (0.0, 900.0):
        for build in (
            lambda **changes: built("llama-3.1-8b", "h100-sxm", **changes),
            lambda **c: eager("llama-3.1-8b", **c),
        ):
            before, after = build(launch_layer_us=launch_us), build(launch_layer_us=launch_us, **gap)
            added = after.step_ns(BatchShape(10, 5000)) - before.step_ns(BatchShape(10, 5000))
            assert added == pytest.approx(2_150_000, abs=1)


def test_experts_chosen_in_many_kernels() -> None:
    """Phi-MoE chooses experts in 25 operations: 25 / 13 of a layer's constant, and of its launching if eager."""
    with_graphs = built("phi-mini-moe", "a6000", layer_us=13, launch_layer_us=1300)
    assert with_graphs.step_ns(BatchShape(1, 0)) - built("phi-mini-moe", "a6000").step_ns(
        BatchShape(1, 0)
    ) == pytest.approx(32 * (13 + 25) * 1000, abs=1)
    settings = replace(with_graphs.hardware.engine, enforce_eager=True)
    launched = PhysicalPredictor(with_graphs.coefficients, replace(with_graphs.hardware, engine=settings))
    assert launched.step_ns(BatchShape(1, 0)) == 32 * (1300 + 2500) * 1000


def test_only_some_predictors_know_eager_steps() -> None:
    """A source with CUDA graphs refuses an engine without them, with those that can."""
    machine = hardware("llama-3.1-8b")
    machine = replace(machine, engine=replace(machine.engine, enforce_eager=True))
    with pytest.raises(InputError, match=r"engine.enforce_eager: predictor roofline knows .* use auto or physical"):
        build_predictor(RooflineOptions(), machine)
    assert build_predictor(PhysicalOptions(), machine).step_ns(BatchShape(1, 1)) >= 32 * 225_000


def test_padding_of_a_graph_chooses_experts_too() -> None:
    """Eleven decodes run in a graph of 16: experts are read as 16 tokens choose them, as 11 do without graphs."""
    experts_ns = 32 * 8 * 3 * 4096 * 14336 * 2 / 3.352e12 * 1e9
    for build, tokens in ((built, 16), (eager, 11)):
        arguments = ("mixtral-8x7b", "h100-sxm") if build is built else ("mixtral-8x7b",)
        fast, slow = build(*arguments), build(*arguments, moe_memory_ratio=0.5)
        added = slow.step_ns(BatchShape(11, 0)) - fast.step_ns(BatchShape(11, 0))
        assert added == pytest.approx(experts_ns * (1 - (1 - 2 / 8) ** tokens), rel=0.01)


def test_projections_in_fp8_have_ratios_of_their_own() -> None:
    """Twice the arithmetic time where fp8 reaches half the share; the head, which stays in bf16, and other types do not
    notice; activations that are quantised cost 21 us a layer.
    """
    model = load_model("llama-3.1-8b").model_copy(update={"weight_dtype": "fp8"})
    machine = hardware(model)
    prompt = BatchShape(prefills=[(8000, 0)], completed_prefills=1)

    def step(**changes: float) -> int:
        return PhysicalPredictor(Coefficients(**{**BASE, "smooth_power": 64, **changes}), machine).step_ns(prompt)

    linear_ns = 8000 * shard(machine, 0).flops_per_token / 1.9789e15 * 1e9
    assert step(gemm_flops_fp8_ratio=0.5) - step() == pytest.approx(linear_ns, rel=0.01)
    assert step(gemm_flops_ratio=0.5, gemm_flops_fp8_ratio=1.0) - step() < 0.01 * linear_ns
    assert step(quantized_layer_us=21) - step() == pytest.approx(32 * 21_000, abs=1)
    plain = built("llama-3.1-8b", "h100-sxm", quantized_layer_us=21, gemm_flops_fp8_ratio=0.1)
    assert plain.step_ns(prompt) == built("llama-3.1-8b", "h100-sxm").step_ns(prompt)


def test_fp8_follows_the_operators_of_the_device() -> None:
    """On H100 GEMMs in fp8 reach 0.541 of their peak where bf16 reaches 0.796: 0.68 of the fitted share; no operators
    of fp8 (A100), no share of its own.
    """
    calibration = load_calibration("vllm")
    operators = load_operator_ratios("operator-ratios")
    here = calibration.resolve(load_device("h100-sxm"), "0.15", operators)
    assert here.gemm_flops_fp8_ratio == pytest.approx(here.gemm_flops_ratio * 0.541 / 0.796)
    assert here.gemm_memory_fp8_ratio == pytest.approx(here.gemm_memory_ratio * 0.859 / 0.879)
    assert calibration.resolve(load_device("a100-80gb"), "0.15", operators).gemm_flops_fp8_ratio == 0


def test_fp4_follows_the_operators_of_the_device() -> None:
    """On B200 GEMMs in fp4 reach 0.505 of their peak where bf16 reaches 0.713: 0.71 of the fitted share; half the share
    makes a long prompt's projections take twice as long; models in other types do not change.
    """
    calibration, operators = load_calibration("vllm"), load_operator_ratios("operator-ratios")
    here = calibration.resolve(load_device("b200"), None, operators)
    assert here.gemm_flops_fp4_ratio == pytest.approx(here.gemm_flops_ratio * 0.505 / 0.713)
    assert here.gemm_memory_fp4_ratio == pytest.approx(here.gemm_memory_ratio * 0.805 / 0.837)
    prompt = BatchShape(prefills=[(8192, 0)], completed_prefills=1)
    plain = hardware("llama-3.1-8b", "b200")
    replica = replace(plain, model=load_model("llama-3.1-8b").model_copy(update={"weight_dtype": "fp4"}))

    def step_ns(ratio: float) -> int:
        changed = here.model_copy(update={"gemm_flops_fp4_ratio": ratio})
        return PhysicalPredictor(changed, replica).step_ns(prompt)

    operations = 8192 * shards(replica)[0].flops_per_token
    once_ns = operations / (replica.device.peak_flops("fp4") * 0.4) * 1e9
    assert step_ns(0.2) - step_ns(0.4) == pytest.approx(once_ns, rel=0.02)
    assert PhysicalPredictor(here, plain).step_ns(prompt) == PhysicalPredictor(
        here.model_copy(update={"gemm_flops_fp4_ratio": 0.1}), plain
    ).step_ns(prompt)


def test_an_indexer_has_a_block_of_its_own() -> None:
    """DeepSeek-V3.2 has 61 layers with an indexer: at 40 instead of 10 us each a step takes 1.83 ms longer.
    V3 has none.
    """
    base = load_calibration("vllm").resolve(load_device("h200")).model_copy(update={"latent_layer_us": 10.0})
    sparse = base.model_copy(update={"sparse_layer_us": 40.0})
    decode = BatchShape(decodes=1, decode_kv_tokens=100)

    def step_ns(name: str, coefficients: Coefficients) -> int:
        return PhysicalPredictor(coefficients, hardware(name, "h200", 8)).step_ns(decode)

    assert step_ns("deepseek-v3.2", sparse) - step_ns("deepseek-v3.2", base) == pytest.approx(1_830_000, abs=2)
    assert step_ns("deepseek-v3", sparse) == step_ns("deepseek-v3", base)


def test_prompts_pass_states_at_a_rate_of_their_own() -> None:
    """The recurrence of Qwen3-Next's 36 such layers, 32 heads of 6 x 128 x 128 operations each, at 1 % of the peak."""
    base = load_calibration("vllm").resolve(load_device("h200"))
    slow = base.model_copy(update={"state_flops_ratio": 0.01})
    replica = hardware("qwen3-next-80b-a3b", "h200", 4)
    prompt = BatchShape(prefills=[(8192, 0)], completed_prefills=1)
    found = [PhysicalPredictor(coefficients, replica).step_ns(prompt) for coefficients in (base, slow)]
    operations = 8191 * 36 * 32 * 6 * 128 * 128 / 4
    rates = [replica.device.peak_flops("bf16") * ratio for ratio in (base.attention_flops_ratio, 0.01)]
    assert found[1] - found[0] == pytest.approx((operations / rates[1] - operations / rates[0]) * 1e9, rel=1e-6)


def test_a_gated_delta_net_has_three_more_kernels() -> None:
    """36 of Qwen3-Next's 48 layers: at 13 us a layer 48 x 13 + 36 x 3 us."""
    shape = BatchShape(1, 0)
    plain, with_constant = (built("qwen3-next-80b-a3b", "h200", 2, layer_us=us).step_ns(shape) for us in (0, 13))
    assert with_constant - plain == pytest.approx((48 * 13 + 36 * 3) * 1000, abs=1)


def test_a_step_waits_for_the_gpu_with_the_most_experts() -> None:
    """Eight tokens of Mixtral on two GPUs with whole experts, read and computed one after the other: the busiest reads
    and computes more by what its share of experts and tokens says.
    """
    coefficients = Coefficients(**{**BASE, "moe_flops_ratio": 1.0})
    sliced, whole = (
        hardware("mixtral-8x7b", "h100-sxm", 2, experts=ExpertSharding(groups=groups)) for groups in (1, 2)
    )
    times = [PhysicalPredictor(coefficients, replica).tokens_cost(8, 0) for replica in (sliced, whole)]
    part, model = shard(whole), whole.model
    more_read = whole.experts.busiest_activated_ratio(model, 8) - whole.experts.activated_ratio(model, 8)
    flops = 8 * 32 * 2 * 2 * 3 * 4096 * 14336 / 2
    seconds = more_read * part.expert_weight_bytes / 3.352e12
    seconds += (whole.experts.busiest_share(model, 8) - 1.0) * flops / 9.894e14
    assert more_read > 0.02
    assert times[1] - times[0] == pytest.approx(seconds * 1e9, rel=1e-4)


def test_an_all_to_all_has_a_latency_of_its_own() -> None:
    """16 ranks of DeepSeek-V3 with SGLang's kernels: 40 us in each of 58 layers instead of two all-reduces of 5."""
    replica = hardware("deepseek-v3", "gb200", experts=ExpertSharding(16, groups=16), kernels="sglang")
    base = Coefficients(**{**BASE, "all_reduce_us": 5.0})
    own = base.model_copy(update={"all_to_all_us": 40.0})
    times = [PhysicalPredictor(coefficients, replica).routed_cost(4, 64, 0) for coefficients in (base, own)]
    assert times[1] - times[0] == pytest.approx(58 * 30 * 1000, rel=1e-6)
    gathering = replace(replica, engine=replace(replica.engine, kernels="vllm"))
    assert PhysicalPredictor(own, gathering).routed_cost(4, 64, 0) == PhysicalPredictor(base, gathering).routed_cost(
        4, 64, 0
    )


def test_scales_by_blocks_cost_each_projection_a_kernel() -> None:
    """At 3 us a projection: DeepSeek-V3 in fp8 has 61 layers with three of latent attention and two of a dense
    feed-forward or of shared experts, 915 us; Mixtral in fp8 has 32 with two, 192 us; Llama-3.1-8B in fp4 has 32 with
    four, 384 us, and in fp8, with one scale a tensor, none.
    """
    decode = BatchShape(decodes=1, decode_kv_tokens=100)

    def longer_us(name: str, dtype: str) -> float:
        replica = hardware(load_model(name).model_copy(update={"weight_dtype": dtype}), "b200")
        scales = {"scaled_projection_fp8_us": 3.0, "scaled_projection_fp4_us": 3.0}
        with_scales = PhysicalPredictor(Coefficients(**{**BASE, **scales}), replica)
        return (with_scales.step_ns(decode) - PhysicalPredictor(Coefficients(**BASE), replica).step_ns(decode)) / 1000

    assert longer_us("deepseek-v3", "fp8") == pytest.approx(915, abs=0.01)
    assert longer_us("mixtral-8x7b", "fp8") == pytest.approx(192, abs=0.01)
    assert longer_us("llama-3.1-8b", "fp4") == pytest.approx(384, abs=0.01)
    assert longer_us("llama-3.1-8b", "fp8") == longer_us("llama-3.1-8b", "bf16") == 0
