"""Properties of requests besides lengths."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.workload.sections import fixed, synthetic


def test_plain_requests_share_one_attributes_object(requests: Callable[..., Any]) -> None:
    """Requests without traits cost no attributes."""
    made = requests(synthetic(count=100))
    assert len({id(one.attributes) for one in made}) == 1
    tagged = requests(synthetic(count=100, traits={"tenant": "x", "priority": -1, "lora": "sql"}))
    assert len({id(one.attributes) for one in tagged}) == 1
    assert (tagged[0].attributes.tenant, tagged[0].attributes.priority, tagged[0].attributes.lora) == ("x", -1, "sql")


def test_prefix_trees(rows: Callable[..., Any]) -> None:
    """A path of the tree starts the prompt; children of different parents differ; the choice follows Zipf."""
    levels = [{"count": 2, "tokens": 50}, {"count": 3, "tokens": 20, "zipf_alpha": 1}]
    block = rows(synthetic(traits={"prefix": {"levels": levels}}))
    paths = Counter(tuple(segment for segment, _ in one.segments[:2]) for one in block.attributes)
    assert len(paths) == 6
    assert len({second for _, second in paths}) == 6
    for prompt, one in zip(block.prompt_tokens.tolist(), block.attributes, strict=True):
        assert [tokens for _, tokens in one.segments[:2]] == [50, 20]
        assert sum(tokens for _, tokens in one.segments) == prompt
        assert 170 <= prompt <= 270
    shares = sorted(count / 2000 for count in paths.values())
    assert shares[-1] == pytest.approx(0.5 * 6 / 11, abs=0.03)
    own = [one.segments[-1][0] for one in block.attributes]
    assert len(set(own)) == 2000, "what follows the prefix is nobody else's"


def test_prefixes_inside_the_prompt_and_named_trees(rows: Callable[..., Any]) -> None:
    """A prefix that is part of the prompt is cut to it; parts that name the same tree share it."""
    inside = {"levels": [{"count": 1, "tokens": 150}], "added": False}
    block = rows(synthetic(traits={"prefix": inside}))
    for prompt, one in zip(block.prompt_tokens.tolist(), block.attributes, strict=True):
        assert 100 <= prompt <= 200
        assert one.segments[0][1] == min(prompt, 150)
    for name, trees in (("", 2), ("docs", 1)):
        traits = {"prefix": {"levels": [{"count": 1, "tokens": 10}], "name": name}}
        mixed = rows({"kind": "mix", "parts": [synthetic(traits=traits), synthetic(traits=traits)]})
        assert len({one.segments[0] for one in mixed.attributes}) == trees


def test_adapters_media_reasoning_hints_and_deadlines(rows: Callable[..., Any]) -> None:
    """Each trait has its distribution and lands in its field."""
    traits = {
        "lora_pool": 4,
        "reasoning": {"ratio": fixed(0.25)},
        "multimodal": {"probability": 0.5, "items": fixed(2), "tokens_per_item": fixed(300)},
        "length_hint_cv": 0.5,
        "deadline_s": 3.0,
        "model": "big",
    }
    block = rows(synthetic(count=20_000, traits=traits))
    attributes = block.attributes
    loras = Counter(one.lora for one in attributes)
    assert sorted(loras) == ["lora-0", "lora-1", "lora-2", "lora-3"]
    assert min(loras.values()) > 4700
    media = [one.encoder_tokens for one in attributes]
    assert set(media) == {0, 600}
    assert media.count(600) / 20_000 == pytest.approx(0.5, abs=0.015)
    assert block.prompt_tokens.max() <= 800
    assert all(
        one.reasoning_tokens == round(0.25 * output)
        for one, output in zip(attributes, block.output_tokens.tolist(), strict=True)
    )
    errors = np.array([one.length_hint_tokens for one in attributes]) / block.output_tokens
    assert errors.mean() == pytest.approx(1.0, abs=0.02)
    assert errors.std() == pytest.approx(0.5, abs=0.05)
    assert all(
        one.deadline_ns == arrival + 3 * 10**9
        for one, arrival in zip(attributes, block.arrival_ns.tolist(), strict=True)
    )
    assert {one.model for one in attributes} == {"big"}


def test_exact_hints(rows: Callable[..., Any]) -> None:
    """A hint with CV 0 is the output length."""
    block = rows(synthetic(traits={"length_hint_cv": 0}))
    assert [one.length_hint_tokens for one in block.attributes] == block.output_tokens.tolist()
