from typing import Any

import pytest

from cluster_sim.routing.handover.connector_interface import (
    CONNECTORS,
    Connector,
    Move,
    Pair,
    Prefill,
    Ready,
    Release,
    Reserve,
    build_connector,
)
from cluster_sim.routing.handover.kv_layout import KvLayout

NAMES = CONNECTORS.names()


def connector(name: str) -> Connector:
    return build_connector(CONNECTORS.get(name).options())  # type: ignore[arg-type]


def layout(**changes: Any) -> KvLayout:
    values = {"block_size": 16, "dtype": "bf16", "tensor_parallel": 4, "pipeline_parallel": 1, "layers": 80}
    return KvLayout(**(values | {"token_bytes": 1000.0} | changes))


def test_nixl_computes_then_reserves_then_reads_then_frees() -> None:
    """A prompt of 100 tokens, of which 32 are cached at the decode side: the others move, 99 count as computed."""
    nixl, pair = connector("nixl"), Pair(100, 16)
    assert nixl.begin(pair) == [Prefill()]
    assert nixl.on_prefilled(pair, 5) == [Reserve()]
    assert nixl.on_granted(pair, 32) == [Move(32, 100)]
    assert nixl.on_moved(pair) == [Ready(99, 0), Release()]


def test_tensorrt_llm_brings_the_first_token_along() -> None:
    """The generation server goes on behind the context server's token."""
    tensorrt_llm, pair = connector("tensorrt_llm"), Pair(100, 32)
    assert tensorrt_llm.begin(pair) == [Prefill()]
    assert tensorrt_llm.on_prefilled(pair, 5) == [Reserve()]
    assert tensorrt_llm.on_granted(pair, 0) == [Move(0, 100)]
    assert tensorrt_llm.on_moved(pair) == [Ready(100, 1), Release()]


def test_sglang_reserves_first_and_sends_whole_pages() -> None:
    """Chunks end at 40, 80 and 100, pages hold 16: tokens to 32, to 80 and the rest; ready when all are there."""
    sglang, pair = connector("sglang"), Pair(100, 16)
    assert sglang.begin(pair) == [Reserve()]
    assert sglang.on_granted(pair, 0) == [Prefill()]
    assert sglang.on_chunk(pair, 40, 7) == [Move(0, 32)]
    assert sglang.on_moved(pair) == []
    assert sglang.on_chunk(pair, 80, 7) == [Move(32, 80)]
    assert sglang.on_prefilled(pair, 7) == [Move(80, 100)]
    assert sglang.on_moved(pair) == []
    assert sglang.on_moved(pair) == [Ready(100, 1), Release()]


def test_layerwise_sends_while_the_step_runs() -> None:
    """Each move says how long its step has been; a prompt that is computed again after a preemption moves once."""
    layerwise, pair = connector("layerwise"), Pair(100, 16)
    assert layerwise.begin(pair) == [Reserve()]
    assert layerwise.on_granted(pair, 0) == [Prefill()]
    assert layerwise.on_chunk(pair, 64, 900) == [Move(0, 64, 900)]
    assert layerwise.on_moved(pair) == []
    assert layerwise.on_chunk(pair, 48, 900) == []
    assert layerwise.on_prefilled(pair, 800) == [Move(64, 100, 800)]
    assert layerwise.on_moved(pair) == [Ready(99, 0), Release()]


@pytest.mark.parametrize("name", NAMES)
def test_equal_caches_are_taken(name: str) -> None:
    """Every connector copies what need not be converted."""
    assert CONNECTORS.get(name).part.refusal(layout(), layout()) == ""


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"block_size": 32}, "engine.block_size"),
        ({"dtype": "fp8"}, "engine.kv_cache_dtype"),
        ({"tensor_parallel": 6}, "tensor_parallel"),
    ],
)
def test_what_no_connector_converts_is_refused_with_the_key(name: str, changes: dict[str, Any], key: str) -> None:
    """Block sizes and types must be equal, and one tensor degree must divide the other."""
    assert CONNECTORS.get(name).part.refusal(layout(), layout(**changes)).startswith(f"{key}: ")


def test_stages() -> None:
    """NIXL joins stages by number, SGLang decodes in one or as many, TensorRT-LLM converts."""
    two = layout(pipeline_parallel=2)
    assert CONNECTORS.get("nixl").part.refusal(two, layout()).startswith("pipeline_parallel: ")
    assert CONNECTORS.get("sglang").part.refusal(two, layout()) == ""
    assert CONNECTORS.get("sglang").part.refusal(layout(), two).startswith("pipeline_parallel: ")
    assert CONNECTORS.get("tensorrt_llm").part.refusal(two, layout()) == ""


def test_bytes_of_a_prompt() -> None:
    """Tokens 32 to 100 lie in five blocks of 16, the last of which moves whole; 80 layers make 400 reads a GPU."""
    blocks = layout().blocks(32, 100)
    assert blocks == 5
    assert layout().bytes_of(blocks) == 80_000
    assert layout().descriptors(blocks) == 400
