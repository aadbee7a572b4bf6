"""Bounds on lengths: requests outside are cut to them or dropped."""

from collections import Counter
from dataclasses import replace
from typing import Literal

import numpy as np
from pydantic import Field

from cluster_sim.options import MOST_ITEMS, ConfigModel
from cluster_sim.workload.columns import Columns
from cluster_sim.workload.request import Attributes
from cluster_sim.workload.sampling.random_streams import Ints


class Clip(ConfigModel):
    """Bounds on lengths: requests outside are cut to them or dropped (both are counted)."""

    min_prompt_tokens: int | None = Field(default=None, ge=1, le=MOST_ITEMS, description="Least prompt tokens.")
    max_prompt_tokens: int | None = Field(default=None, ge=1, le=MOST_ITEMS, description="Greatest prompt tokens.")
    min_output_tokens: int | None = Field(default=None, ge=1, le=MOST_ITEMS, description="Least output tokens.")
    max_output_tokens: int | None = Field(default=None, ge=1, le=MOST_ITEMS, description="Greatest output tokens.")
    max_total_tokens: int | None = Field(
        default=None,
        ge=2,
        le=MOST_ITEMS,
        description="Greatest prompt plus output; cutting takes from the prompt's end.",
    )
    outside: Literal["cut", "drop"] = Field(default="cut", description="What happens to a request outside.")


def _bounded(values: Ints, low: int | None, high: int | None) -> Ints:
    if low is None and high is None:
        return values
    return np.clip(values, low if low is not None else 1, high)


def clip_block(block: Columns, clip: Clip, counts: Counter[str]) -> Columns:
    """Return the block within bounds; ``counts`` learns how many rows were changed or dropped.

    Cutting to ``max_total_tokens`` takes from the prompt first and never below one token of prompt; what is still
    too long is taken from the output.
    """
    prompt = _bounded(block.prompt_tokens, clip.min_prompt_tokens, clip.max_prompt_tokens)
    output = _bounded(block.output_tokens, clip.min_output_tokens, clip.max_output_tokens)
    if clip.max_total_tokens is not None:
        prompt = np.maximum(np.minimum(prompt, clip.max_total_tokens - output), 1)
        output = np.maximum(np.minimum(output, clip.max_total_tokens - prompt), 1)
    changed = (prompt != block.prompt_tokens) | (output != block.output_tokens)
    count = int(np.count_nonzero(changed))
    if not count:
        return block
    if clip.outside == "drop":
        counts["dropped, outside the clip"] += count
        return block.rows(np.flatnonzero(~changed))
    counts["cut to the clip"] += count
    attributes = block.attributes
    if attributes is not None:
        attributes = [
            _fitted(old, int(prompt_tokens), int(output_tokens)) if was_changed else old
            for old, prompt_tokens, output_tokens, was_changed in zip(
                attributes, prompt, output, changed.tolist(), strict=True
            )
        ]
    return Columns(block.arrival_ns, prompt, output, attributes)


def _fitted(old: Attributes, prompt_tokens: int, output_tokens: int) -> Attributes:
    """Return attributes that agree with changed lengths: the prompt's end is cut, or extended by unshared content."""
    kept: list[tuple[int, int]] = []
    left = prompt_tokens
    for segment, tokens in old.segments:
        if left <= 0:
            break
        kept.append((segment, min(tokens, left)))
        left -= tokens
    segments = tuple(kept) if left <= 0 else ()
    return replace(old, segments=segments, reasoning_tokens=min(old.reasoning_tokens, output_tokens))
