"""Bounds on lengths."""

from collections.abc import Callable
from typing import Any

LENGTHS = {"prompt": {"kind": "uniform", "min": 100, "max": 200}, "output": {"kind": "uniform", "min": 5, "max": 20}}


def synthetic(rate: float = 10, **more: Any) -> dict[str, Any]:
    arrivals = {"kind": "poisson", "request_rate": rate}
    return {"kind": "synthetic", "arrivals": arrivals, "lengths": LENGTHS, "count": 2000} | more


def test_clipping_keeps_segments_in_step(rows: Callable[..., Any]) -> None:
    """Cut prompts lose content from the end; the total is kept; no length falls below 1."""
    clip = {"max_total_tokens": 120}
    block = rows(synthetic(clip=clip, traits={"prefix": {"levels": [{"count": 2, "tokens": 90}]}}))
    assert (block.prompt_tokens + block.output_tokens).max() == 120
    for prompt, one in zip(block.prompt_tokens.tolist(), block.attributes, strict=True):
        assert sum(tokens for _, tokens in one.segments) == prompt
    tiny = rows(synthetic(clip={"max_total_tokens": 2}))
    assert set(tiny.prompt_tokens.tolist()) == {1}
    assert set(tiny.output_tokens.tolist()) == {1}
    grown = rows(synthetic(clip={"min_prompt_tokens": 500}))
    assert set(grown.prompt_tokens.tolist()) == {500}
