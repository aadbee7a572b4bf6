"""Bounds on lengths."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.workload.sections import synthetic


def test_clipping_keeps_segments_in_step(rows: Callable[..., Any]) -> None:
    """Cut prompts lose content from the end; the total is kept; no length falls below 1."""
    traits = {"prefix": {"levels": [{"count": 2, "tokens": 90}]}}
    whole, block = rows(synthetic(traits=traits)), rows(synthetic(clip={"max_total_tokens": 120}, traits=traits))
    assert set((block.prompt_tokens + block.output_tokens).tolist()) == {120}
    assert np.array_equal(block.output_tokens, whole.output_tokens), "the prompt pays first"
    for prompt, one, old in zip(block.prompt_tokens.tolist(), block.attributes, whole.attributes, strict=True):
        assert sum(tokens for _, tokens in one.segments) == prompt
        *head, (last, tokens) = one.segments
        assert tuple(head) == old.segments[: len(head)]
        assert (last, tokens <= old.segments[len(head)][1]) == (old.segments[len(head)][0], True)
    tiny = rows(synthetic(clip={"max_total_tokens": 2}))
    assert set(tiny.prompt_tokens.tolist()) == {1}
    assert set(tiny.output_tokens.tolist()) == {1}
    grown = rows(synthetic(clip={"min_prompt_tokens": 500}))
    assert set(grown.prompt_tokens.tolist()) == {500}
