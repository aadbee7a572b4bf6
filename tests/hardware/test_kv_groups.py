"""KV cache groups: which layers go together, what a group holds, and what a windowed layer reads and computes."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster_sim.errors import InputError
from cluster_sim.hardware.device import load_device
from cluster_sim.hardware.engine_settings import EngineSettings
from cluster_sim.hardware.kv_groups import KvGroups, kv_groups, layer_groups
from cluster_sim.hardware.memory_plan import plan_memory
from cluster_sim.hardware.model import Model, load_model
from cluster_sim.hardware.predictors.attention_window import AttentionWindow
from cluster_sim.hardware.replica_hardware import ReplicaHardware

VLLM = EngineSettings(max_num_seqs=128, max_num_batched_tokens=2048)


def model_of(*kinds: str) -> Model:
    """Return a small model with these layers: f is full, s sliding, c chunked."""
    names = {"f": "full_attention", "s": "sliding_attention", "c": "chunked_attention"}
    types = tuple(names[kind] for kind in "".join(kinds))
    fields = load_model("llama-3-8b").model_dump() | {
        "published_parameters": 0.0,
        "name": "small",
        "num_hidden_layers": len(types),
        "sliding_window": 10,
        "attention_chunk_size": 8,
        "layer_types": types,
    }
    return Model.model_validate(fields)


@pytest.mark.parametrize(
    ("kinds", "groups"),
    [
        ("ffff", [[0, 1, 2, 3]]),
        ("ssss", [[0, 1, 2, 3]]),
        ("sfsf", [[0, 2], [1, 3]]),
        ("cccfcccf", [[0, 4], [1, 5], [2, 6], [3, 7]]),
        ("sssfss", [[0], [1], [2], [4], [5], [3]]),
        ("fssss" * 2, [[0, 5], [1, 6], [2, 7], [3, 8], [4, 9]]),
        ("sfsfsfsfsfs", [[0, 2, 4, 6, 8, 10], [1, 3, 5, 7, 9]]),
        ("sfsfsfs", [[0, 4], [2, 6], [1, 3, 5]]),
    ],
)
def test_layers_of_groups(kinds: str, groups: list[list[int]]) -> None:
    """As many layers a group as the rarer kind has, every so-many-th of its kind; 6 beside 5 are one group each, but 4
    beside 3 are two.
    """
    engine = replace(VLLM, disable_hybrid_kv_cache_manager=False)
    assert layer_groups(model_of(kinds), engine) == groups


def test_groups_of_the_library_s_models() -> None:
    """gpt-oss alternates from a sliding layer on; Llama 4 gets groups on demand only; Mistral slides in any case."""
    found = {
        (name, is_off): kv_groups(load_model(name), replace(VLLM, disable_hybrid_kv_cache_manager=is_off), 16)
        for name in ("llama-3-8b", "gpt-oss-120b", "llama-4-scout", "mistral-7b")
        for is_off in (None, False, True)
    }
    gpt, scout, mistral = KvGroups(1, 1, 128), KvGroups(1, 3, 8192, is_chunked=True), KvGroups(0, 1, 4096)
    assert [found["gpt-oss-120b", is_off] for is_off in (None, False, True)] == [gpt, gpt, None]
    assert [found["llama-4-scout", is_off] for is_off in (None, False, True)] == [None, scout, None]
    assert [found["mistral-7b", is_off] for is_off in (None, False, True)] == [mistral] * 3
    assert [found["llama-3-8b", is_off] for is_off in (None, False, True)] == [None] * 3
    assert kv_groups(load_model("mistral-7b"), replace(VLLM, keeps_windows=False), 16) is None
    with pytest.raises(InputError, match="chunks of 8192 tokens, which blocks of 48 do not divide"):
        kv_groups(load_model("llama-4-scout"), replace(VLLM, disable_hybrid_kv_cache_manager=False), 48)


def test_blocks_hold_one_group() -> None:
    """gpt-oss-20b: 16 tokens of 12 layers with 2 * 8 * 64 numbers of 2 bytes; two groups take twice the blocks."""
    model, device = load_model("gpt-oss-20b"), load_device("h100-sxm")
    grouped = plan_memory(ReplicaHardware(model, device, VLLM))
    whole = plan_memory(ReplicaHardware(model, device, replace(VLLM, disable_hybrid_kv_cache_manager=True)))
    assert grouped.kv_bytes_per_block == 16 * 12 * 2 * 8 * 64 * 2
    assert whole.kv_bytes_per_block == 2 * grouped.kv_bytes_per_block
    assert (grouped.kv_groups, whole.kv_groups) == (2, 1)
    assert grouped.kv_blocks // 2 == whole.kv_blocks
    assert grouped.kv_tokens == grouped.kv_blocks // 2 * 16
    # Two stages hold six layers of each group; six stages of Llama 4 two of each of the four.
    assert plan_memory(ReplicaHardware(model, device, VLLM, 1, 2)).kv_bytes_per_block * 2 == grouped.kv_bytes_per_block
    scout, engine = load_model("llama-4-scout"), replace(VLLM, disable_hybrid_kv_cache_manager=False)
    assert plan_memory(ReplicaHardware(scout, device, engine, 2, 6)).kv_bytes_per_block == 16 * 2 * 2 * 4 * 128 * 2


def test_what_a_window_skips_and_needs() -> None:
    """A window of 6: behind 9 tokens the next sees 5..9, so 4 are skipped.  Chunks of 8: behind 9 tokens 8 are."""
    sliding, chunked = KvGroups(1, 2, 6), KvGroups(0, 1, 8, is_chunked=True)
    assert [sliding.skipped_tokens(tokens) for tokens in (0, 5, 6, 9)] == [0, 0, 1, 4]
    assert [chunked.skipped_tokens(tokens) for tokens in (7, 8, 9, 16)] == [0, 8, 8, 16]
    # 5 of the window and 16 of a step lie in at most 7 blocks of 4, 8 and 16 in 6.
    assert (sliding.window_blocks(16, 4), chunked.window_blocks(16, 4)) == (7, 6)
    assert [sliding.most_blocks(tokens, 16, 4) for tokens in (20, 28, 100)] == [15, 21, 25 + 14]
    assert [sliding.longest(blocks, 16, 4, 1000) for blocks in (2, 15, 38, 39)] == [0, 20, 96, 100]
    assert chunked.longest(6, 16, 4, 1000) == 1000


@given(
    st.builds(KvGroups, st.integers(0, 2), st.integers(1, 2), st.integers(1, 20))
    | st.builds(KvGroups, st.integers(0, 2), st.integers(1, 2), st.sampled_from([4, 8, 20]), st.just(True)),
    st.lists(st.integers(1, 12), min_size=1, max_size=20),
)
def test_most_blocks_is_a_bound(groups: KvGroups, chunks: list[int]) -> None:
    """However a sequence is cut into steps of up to 12 tokens, it never holds more."""
    computed = 0
    bound = groups.most_blocks(sum(chunks), 12, 4)
    for chunk in chunks:
        skipped = groups.skipped_tokens(computed) // 4
        computed += chunk
        assert groups.count * -(-computed // 4) - groups.windowed * skipped <= bound


@given(st.integers(1, 60), st.integers(0, 60))
def test_what_a_chunk_sees(chunk: int, cached: int) -> None:
    """Pairs and cached tokens are the mean over the layers of what each kind sees, counted token by token."""
    positions = range(cached, cached + chunk)
    full = sum(position + 1 for position in positions)
    sliding = sum(min(position + 1, 10) for position in positions)
    chunked = sum(position % 8 + 1 for position in positions)
    assert AttentionWindow(model_of("ff")).pairs(chunk, cached) == full
    assert AttentionWindow(model_of("sf")).pairs(chunk, cached) == pytest.approx((full + sliding) / 2)
    assert AttentionWindow(model_of("cccf")).pairs(chunk, cached) == pytest.approx((full + 3 * chunked) / 4)
    assert AttentionWindow(model_of("sf")).cache_tokens(cached) == pytest.approx((cached + min(cached, 9)) / 2)
    assert AttentionWindow(model_of("cf")).cache_tokens(cached) == pytest.approx((cached + cached % 8) / 2)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"layer_types": ["full_attention"]}, "1 entries for 32 layers"),
        ({"layer_types": ["sliding_attention"] * 32}, "sliding_window: missing"),
        ({"layer_types": ["chunked_attention"] * 32}, "attention_chunk_size: missing"),
        (
            {"layer_types": ["chunked_attention", "sliding_attention"] * 16},
            "sliding and chunked attention in one model",
        ),
    ],
)
def test_impossible_layers_are_refused(fields: dict[str, object], complaint: str) -> None:
    """Layer types must be as many as the layers, with the window that they name."""
    with pytest.raises(ValueError, match=complaint):
        Model.model_validate(load_model("llama-3-8b").model_dump() | {"published_parameters": 0.0} | fields)
