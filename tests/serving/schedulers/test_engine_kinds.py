"""Defaults of the engine kinds, what they refuse, and that nothing a replica accepts can stall."""

import re
from pathlib import Path

import pytest
import yaml

from cluster_sim.config.loading.load import check_study, load_study, read_document
from cluster_sim.engine.instant import NEVER, Kind, instant
from cluster_sim.engine.process import HUB_SOURCE, Message
from cluster_sim.errors import InputError
from cluster_sim.hardware.device import load_device
from cluster_sim.hardware.model import load_model
from cluster_sim.hardware.predictors.kinds.roofline import RooflinePredictor
from cluster_sim.recording.replica_log import ReplicaLog
from cluster_sim.routing.admission import StaticLimits
from cluster_sim.serving.limits_resolution import scheduler_limits
from cluster_sim.serving.messages import Dispatch
from cluster_sim.serving.replica import Replica
from cluster_sim.serving.replica_settings import ReplicaSettings
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.schedulers.data_parallel import build_scheduler
from cluster_sim.serving.schedulers.engine_options import ENGINES, EngineOptions, engine_options
from cluster_sim.workload.request import Request
from tests.hardware.replicas import hardware


def limits_of(
    kind: str, stages: int = 1, model: str = "llama-3-8b", **engine: object
) -> tuple[EngineOptions, SchedulerLimits]:
    """Resolve an engine on an H100 with Llama-3-8B and 200 blocks unless told otherwise."""
    asked = engine_options(**{"kind": kind, "num_kv_blocks": 200, "max_model_len": 2048, **engine})
    resolved = asked.resolved(load_device("h100-sxm"), load_model("llama-3-8b"))
    return resolved, scheduler_limits(resolved, load_model(model), 0, stages, macro_steps=True)


@pytest.mark.parametrize(
    ("kind", "seqs", "tokens", "block", "watermark"),
    [
        ("vllm_v0", 128, 16384, 16, 0.01),
        ("sarathi", 128, 512, 16, 0.01),
        ("lightllm", 128, 16384, 1, None),
        ("sglang", 1024, 8192, 1, None),
        ("static_two_phase", 32, None, 16, None),
        ("orca", 128, None, 16, None),
    ],
)
def test_defaults_of_a_kind(kind: str, seqs: int, tokens: int | None, block: int, watermark: float | None) -> None:
    """What the study leaves open is the kind's; what it sets stays."""
    engine, _ = limits_of(kind)
    assert (engine.max_num_seqs, engine.token_budget) == (seqs, tokens)
    assert (engine.block_size, getattr(engine, "watermark_ratio", None)) == (block, watermark)
    set_by_hand, _ = limits_of(kind, max_num_seqs=7, watermark_ratio=0.5)
    assert (set_by_hand.max_num_seqs, getattr(set_by_hand, "watermark_ratio", 0.5)) == (7, 0.5)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("lightllm", {"stages": 2}, "one stage only"),
        ("lightllm", {"block_size": 16}, "block size must be 1, not 16"),
        (
            "vllm_v1",
            {"disable_hybrid_kv_cache_manager": False, "host_blocks": 9, "enable_prefix_caching": True},
            "keeps whole contexts",
        ),
        (
            "vllm_v1",
            {"model": "mistral-7b", "host_blocks": 9, "enable_prefix_caching": True},
            "every layer of mistral-7b has a window of 4096 tokens",
        ),
        (
            "vllm_v1",
            {"policy": "dfs_weight"},
            "which vllm_v1 has not; engines that have one: sglang",
        ),
        ("vllm_v1", {"policy": "lpm", "enable_prefix_caching": False}, "enable_prefix_caching: true"),
        ("sglang", {"enable_mixed_chunk": True, "enable_chunked_prefill": False}, "mixes only with"),
        ("sglang", {"hicache_ratio": 2.0, "enable_prefix_caching": False}, "enable_prefix_caching: true"),
        ("sglang", {"hicache_ratio": 0.5, "enable_prefix_caching": True}, "larger than the device's"),
        ("orca", {"max_model_len": 4096}, "reserves 256 blocks for every sequence and the replica has 200"),
    ],
)
def test_impossible_combinations_are_refused(kind: str, settings: dict, message: str) -> None:
    """The message names the key, the reason and what would be right."""
    with pytest.raises(InputError, match=message):
        limits_of(kind, **settings)


@pytest.mark.parametrize(
    ("asked", "seqs", "tokens"),
    [
        ({}, 1024, 8192),
        ({"max_num_batched_tokens": 64}, 64, 64),
        ({"max_num_seqs": 16}, 16, 8192),
        ({"max_num_seqs": 3}, 3, 6144),
        ({"enable_chunked_prefill": False, "max_model_len": 8000, "max_num_seqs": 4}, 4, 8192),
        ({"enable_chunked_prefill": False, "max_model_len": 8193, "model": "llama-3.1-8b"}, 1024, 8193),
    ],
)
def test_batch_limits_of_vllm(asked: dict, seqs: int, tokens: int) -> None:
    """Slots left open are clipped to the budget; a budget left open holds the longest prompt if prompts are whole, and
    no more than all slots can fill (3 x 2,048).
    """
    engine, _ = limits_of("vllm_v1", **{"num_kv_blocks": 1000, **asked})
    assert (engine.max_num_seqs, engine.token_budget) == (seqs, tokens)


@pytest.mark.parametrize(
    ("kind", "is_refused"), [("vllm_v1", True), ("vllm_v0", True), ("sglang", True), ("orca", False)]
)
def test_a_context_beyond_the_models_positions(kind: str, is_refused: bool) -> None:
    """VLLM and SGLang do not start with more tokens than the model has positions; exactly as many are taken."""
    limits_of(kind, max_model_len=8192, num_kv_blocks=10_000)
    if not is_refused:
        limits_of(kind, max_model_len=8193, num_kv_blocks=10_000)
        return
    with pytest.raises(
        InputError, match=f"engine.max_model_len: {kind} does not start with 8193 tokens, .* at most 8192"
    ):
        limits_of(kind, max_model_len=8193, num_kv_blocks=10_000)


@pytest.mark.parametrize(("model", "fits"), [("llama-3-8b", 1600), ("gpt-oss-20b", 800)])
def test_the_cache_must_hold_one_request(model: str, fits: int) -> None:
    """VLLM starts if a request of the longest context fits the planned blocks, its own null block included; the message
    has the longest that does.  gpt-oss-20b takes a block of 2 groups, of which one keeps its window of 128 tokens and
    the tokens of a step: 100 blocks of 16 are 50 of each.
    """
    budget = {"max_num_batched_tokens": 2048, "num_kv_blocks": None}

    def limits_with(longest: int) -> SchedulerLimits:
        asked = engine_options(max_model_len=longest, **budget)
        resolved = asked.resolved(load_device("h100-sxm"), load_model(model))
        return scheduler_limits(resolved, load_model(model), 100, 1, macro_steps=True)

    limits_with(fits)
    with pytest.raises(
        InputError, match=f"not hold one request of {fits + 1} tokens, only of {fits}; set max_model_len"
    ):
        limits_with(fits + 1)


def test_prefixes_are_cached_by_default() -> None:
    """VLLM v1 and SGLang reuse prefixes unless told otherwise; what is on by default is still refused elsewhere."""
    assert limits_of("vllm_v1")[0].caches_prefixes
    assert limits_of("sglang")[0].caches_prefixes
    assert not limits_of("vllm_v1", enable_prefix_caching=False)[0].caches_prefixes


STUDY = """\
workload:
  kind: synthetic
  count: 5
  arrivals: {kind: poisson, request_rate: 1}
  lengths: {prompt: {kind: fixed, value: 100}, output: {kind: fixed, value: 10}}
fleet:
  pools: [{model: llama-3-8b, device: h100-sxm, engine: %s}]
"""


def load(tmp_path: Path, engine: str) -> EngineOptions:
    """Return the engine block of a study file with this text as its engine."""
    file = tmp_path / "study.yaml"
    file.write_text(STUDY % engine, encoding="utf-8")
    return load_study(file).fleet.pools[0].engine


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        ("{kind: orca, enable_mixed_chunk: true}", "enable_mixed_chunk belongs to sglang; this pool is orca"),
        ("{enable_mixed_chunk: true}", "enable_mixed_chunk belongs to sglang; this pool is vllm_v1"),
        (
            "{kind: sarathi, enable_prefix_caching: true}",
            "enable_prefix_caching belongs to sglang, tensorrt_llm and vllm_v1; this",
        ),
        ("{kind: orca, async_scheduling: true}", "async_scheduling belongs to vllm_v1; this pool is orca"),
        ("{kind: sglang, host_blocks: 9}", "host_blocks belongs to vllm_v1; this pool is sglang"),
        ("{hicache_ratio: 2.0}", "hicache_ratio belongs to sglang; this pool is vllm_v1"),
        (
            "{kind: sarathi, batch_timeout_s: 1.0}",
            "batch_timeout_s belongs to static_two_phase; this pool is",
        ),
        ("{kind: sarathi, adaptive_batch_size: true}", "adaptive_batch_size belongs to static_two_phase; this"),
        ("{kind: sarathi, preemption_mode: swap}", "preemption_mode belongs to vllm_v0; this pool is sarathi"),
        ("{kind: orca, lora: {max_loras: 2}}", "lora belongs to vllm_v1; this pool is orca"),
        (
            "{kind: sglang, prefill_schedule_interval: 2}",
            "prefill_schedule_interval belongs to vllm_v1; this",
        ),
        ("{kind: orca, max_num_seq: 2}", "unknown key; did you mean 'max_num_seqs'?; known keys: kind, version"),
        ("{kind: orca, max_num_batched_tokens: 0}", "max_num_batched_tokens: must be at least 1; got 0"),
        ("{kind: orca, enable_mixed_chunk: 3}", "enable_mixed_chunk: must be true or false; got 3"),
        ("{kind: orcas}", "must be one of faster_transformer, lightllm, orca"),
        ("{policy: vct}", "must be one of dfs_weight, edf"),
    ],
)
def test_options_of_other_engines_are_named(tmp_path: Path, engine: str, message: str) -> None:
    """What would switch something on that the engine has not is refused with the engines that have it."""
    with pytest.raises(InputError, match=re.escape(message)):
        load(tmp_path, engine)


ALL_OFF = (
    "prefill_schedule_interval: 1, async_scheduling: false, enable_prefix_caching: false, host_blocks: 0, "
    "hicache_ratio: 0, batch_timeout_s: null, adaptive_batch_size: false, preemption_mode: recompute, "
    "enable_mixed_chunk: false, speculative: null, lora: null"
)
"""Every switch, off."""
IDLE = (
    "reserve_full_sequence: true, watermark_ratio: 0.05, long_prefill_token_threshold: 64, host_load_block_us: 3.0, "
    "hicache_write_policy: write_back, hicache_load_back_tokens: 3, disable_hybrid_kv_cache_manager: true, "
    "swap_blocks: 7, swap_block_us: 1.0, capacity_policy: max_utilization, max_prefill_tokens: 99, "
    "schedule_conservativeness: 0.5, max_waiting_iters: 3, enable_chunked_prefill: true, max_num_batched_tokens: 4096, "
    "vidur_compat: true"
)
"""Every option that only tunes something that other engines have."""


@pytest.mark.parametrize("kind", ENGINES.names())
def test_options_of_other_engines_that_do_nothing_are_left_out(tmp_path: Path, kind: str) -> None:
    """One block serves every kind: what another engine has is left out if it is off or tunes what is not there."""
    engine = load(tmp_path, f"{{kind: {kind}, {ALL_OFF}, {IDLE}}}")
    assert type(engine) is ENGINES.get(kind).options
    assert engine.model_dump().keys() == type(engine).model_fields.keys()
    assert engine.model_fields_set <= type(engine).model_fields.keys()
    own = {name: value for name, value in yaml.safe_load(f"{{{IDLE}}}").items() if name in type(engine).model_fields}
    assert {name: getattr(engine, name) for name in own} == own


def test_what_is_left_out_is_noted(tmp_path: Path) -> None:
    """Loading can say what it left out: options of other engines that were given a value other than the default."""
    file = tmp_path / "study.yaml"
    file.write_text(STUDY % "{kind: orca, max_waiting_iters: 3, swap_blocks: 2048, host_load_block_us: 1.0}")
    notes: list[str] = []
    check_study(read_document(file), tmp_path, notes)
    assert notes == [
        "max_waiting_iters belongs to lightllm; this pool is orca, which leaves it out",
        "host_load_block_us belongs to sglang and vllm_v1; this pool is orca, which leaves it out",
    ]


def test_engines_without_a_token_budget_leave_it_out(tmp_path: Path) -> None:
    """The budget is an option of the engines that have one: others load with it, note it, and resolve without it."""
    file = tmp_path / "study.yaml"
    file.write_text(STUDY % "{kind: orca, max_num_batched_tokens: 64}")
    notes: list[str] = []
    engine = check_study(read_document(file), tmp_path, notes).fleet.pools[0].engine
    owners = "lightllm, sarathi, sglang, tensorrt_llm, vllm_v0 and vllm_v1"
    assert notes == [f"max_num_batched_tokens belongs to {owners}; this pool is orca, which leaves it out"]
    resolved = engine.resolved(load_device("h100-sxm"), load_model("llama-3-8b"))
    assert "max_num_batched_tokens" not in resolved.model_dump()
    asked, limits = limits_of("orca", max_num_seqs=100_000)
    assert (asked.token_budget, limits.max_num_seqs) == (None, 100_000)


@pytest.mark.parametrize("kind", ENGINES.names())
def test_a_resolved_block_can_be_read_again(tmp_path: Path, kind: str) -> None:
    """An engine's options, written out with every default, are the same options when they are read."""
    engine = load(tmp_path, f"{{kind: {kind}}}")
    assert load(tmp_path, engine.model_dump_json()) == engine


@pytest.mark.parametrize("stages", [1, 2])
@pytest.mark.parametrize("kind", ENGINES.names())
def test_the_longest_request_allowed_finishes(kind: str, stages: int) -> None:
    """On a small cache, the longest request that is not refused runs to its end beside others like it."""
    entry = ENGINES.get(kind)
    if stages > 1 and not entry.part.runs_in_stages:
        pytest.skip(f"{kind} runs on one stage")
    blocks = 2048 if entry.options().block_size == 1 else 150
    engine, limits = limits_of(kind, stages, num_kv_blocks=blocks)
    static = StaticLimits(limits.max_model_len, limits.kv_blocks, limits.block_size)
    longest = max(
        tokens for tokens in range(2, 2100) if static.can_run(Request(0, 0, tokens // 2, tokens - tokens // 2))
    )
    predictor = RooflinePredictor(hardware(pipeline_parallel=stages))
    replica = Replica(ReplicaSettings(0, limits, 0), build_scheduler(engine, limits), predictor, ReplicaLog(0, stages))
    for index in range(32 * 2):
        prompt = longest - 1 if index % 2 else longest // 2
        request = Request(index, index, prompt, longest - prompt)
        replica.receive(Message(instant(index, Kind.DELIVERY), HUB_SOURCE, index, Dispatch(request, 0)))
    assert len(replica.advance(NEVER)) == 64


def test_groups_follow_version_host_tier_and_kind() -> None:
    """gpt-oss-20b has groups from vLLM 0.10 on, without a host tier, and in no other engine; what a request may need
    in them bounds its length.
    """
    found = [
        limits_of("vllm_v1", model="gpt-oss-20b", **settings)[1].kv_groups is not None
        for settings in (
            {},
            {"version": "0.9.2"},
            {"host_blocks": 9, "enable_prefix_caching": True},
            {"disable_hybrid_kv_cache_manager": True},
        )
    ]
    assert found == [True, False, False, False]
    assert limits_of("sglang", model="gpt-oss-20b")[1].kv_groups is None
    # Of 199 blocks a window takes at most (127 + 512) / 16 + 1 = 41; 158 are left to the full group, 2,528 tokens.
    settings = {"model": "gpt-oss-20b", "max_num_batched_tokens": 512, "max_num_seqs": 8, "max_model_len": 4096}
    limits = limits_of("vllm_v1", **settings)[1]
    assert (limits.max_model_len, limits.context_blocks) == (2529, 159)
    # All layers of Mistral 7B slide: (4,095 + 512) / 16 + 1 = 289 blocks are enough for any context.
    settings = {"model": "mistral-7b", "max_num_batched_tokens": 512, "max_num_seqs": 8, "num_kv_blocks": 290}
    assert limits_of("vllm_v1", **settings, max_model_len=32_768)[1].max_model_len == 32_768
