"""Defaults of the engine kinds, what they refuse, and that nothing a replica accepts can stall."""

import pytest

from cluster_sim.engine.instant import NEVER, Kind, instant
from cluster_sim.engine.process import HUB_SOURCE, Message
from cluster_sim.errors import InputError
from cluster_sim.hardware.device import load_device
from cluster_sim.hardware.model import load_model
from cluster_sim.hardware.predictors.kinds.roofline import RooflinePredictor
from cluster_sim.recording.replica_log import ReplicaLog
from cluster_sim.routing.admission import StaticLimits
from cluster_sim.serving.engine_defaults import resolve_engine, scheduler_limits
from cluster_sim.serving.engine_kinds import KINDS
from cluster_sim.serving.engine_options import Engine
from cluster_sim.serving.messages import Dispatch
from cluster_sim.serving.replica import Replica
from cluster_sim.serving.replica_settings import ReplicaSettings
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.schedulers import SCHEDULERS
from cluster_sim.workload.request import Request
from tests.hardware.replicas import hardware


def limits_of(
    kind: str, stages: int = 1, model: str = "llama-3-8b", **engine: object
) -> tuple[Engine, SchedulerLimits]:
    """Resolve an engine on an H100 with Llama-3-8B and 200 blocks unless told otherwise."""
    asked = Engine(**{"kind": kind, "num_kv_blocks": 200, "max_model_len": 2048, **engine})
    resolved = resolve_engine(asked, load_device("h100-sxm"))
    return resolved, scheduler_limits(resolved, load_model(model), 0, stages, macro_steps=True)


@pytest.mark.parametrize(
    ("kind", "seqs", "tokens", "block", "watermark"),
    [
        ("vllm_v0", 128, 16384, 16, 0.01),
        ("sarathi", 128, 512, 16, 0.01),
        ("lightllm", 128, 16384, 1, 0.0),
        ("sglang", 1024, 8192, 1, 0.0),
        ("static_two_phase", 32, 8192, 16, 0.0),
    ],
)
def test_defaults_of_a_kind(kind: str, seqs: int, tokens: int, block: int, watermark: float) -> None:
    """What the study leaves open is the kind's; what it sets stays."""
    engine, _ = limits_of(kind)
    assert (engine.max_num_seqs, engine.max_num_batched_tokens) == (seqs, tokens)
    assert (engine.block_size, engine.watermark_ratio) == (block, watermark)
    set_by_hand, _ = limits_of(kind, max_num_seqs=7, watermark_ratio=0.5)
    assert (set_by_hand.max_num_seqs, set_by_hand.watermark_ratio) == (7, 0.5)


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
        ("sarathi", {"enable_prefix_caching": True}, "sarathi has no prefix cache; engines that have one: vllm_v1"),
        ("vllm_v1", {"policy": "dfs_weight"}, "sglang's radix tree"),
        ("vllm_v1", {"policy": "lpm"}, "enable_prefix_caching: true"),
        ("orca", {"async_scheduling": True}, "no asynchronous scheduling"),
        ("vllm_v1", {"enable_mixed_chunk": True}, "sglang has the option"),
        ("sglang", {"enable_mixed_chunk": True, "enable_chunked_prefill": False}, "mixes only with"),
        ("sglang", {"hicache_ratio": 2.0}, "enable_prefix_caching: true"),
        ("vllm_v1", {"hicache_ratio": 2.0, "enable_prefix_caching": True}, "vllm_v1 has host_blocks"),
        ("sglang", {"hicache_ratio": 0.5, "enable_prefix_caching": True}, "larger than the device's"),
        ("sarathi", {"adaptive_batch_size": True}, "static_two_phase does"),
        ("sarathi", {"batch_timeout_s": 1.0}, "static_two_phase does"),
        ("orca", {"max_model_len": 4096}, "reserves 256 blocks for every sequence and the replica has 200"),
    ],
)
def test_impossible_combinations_are_refused(kind: str, settings: dict, message: str) -> None:
    """The message names the key, the reason and what would be right."""
    with pytest.raises(InputError, match=message):
        limits_of(kind, **settings)


@pytest.mark.parametrize("stages", [1, 2])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_longest_request_allowed_finishes(kind: str, stages: int) -> None:
    """On a small cache, the longest request that is not refused runs to its end beside others like it."""
    if kind not in SCHEDULERS.names():
        pytest.skip(f"{kind} is not registered")
    if stages > KINDS[kind].most_stages:
        pytest.skip(f"{kind} runs on one stage")
    blocks = 2048 if KINDS[kind].block_size == 1 else 150
    engine, limits = limits_of(kind, stages, num_kv_blocks=blocks)
    static = StaticLimits(limits.max_model_len, limits.kv_blocks, limits.block_size)
    longest = max(
        tokens for tokens in range(2, 2100) if static.can_run(Request(0, 0, tokens // 2, tokens - tokens // 2))
    )
    predictor = RooflinePredictor(hardware(pipeline_parallel=stages))
    replica = Replica(ReplicaSettings(0, limits, 0), SCHEDULERS.build(engine, limits), predictor, ReplicaLog(0, stages))
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
