"""Bounds on lengths."""

from collections.abc import Callable
from typing import Any

from tests.workload.sections import synthetic


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
