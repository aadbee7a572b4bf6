"""Mixes, phases, traits and clipping of open-loop workloads."""

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster_sim.workload.columns import Columns, ColumnSource, concatenate, sort_by_arrival
from cluster_sim.workload.merging import MergedColumns, PhasedColumns

LENGTHS = {"prompt": {"kind": "uniform", "min": 100, "max": 200}, "output": {"kind": "uniform", "min": 5, "max": 20}}


def synthetic(rate: float = 10, **more: Any) -> dict[str, Any]:
    arrivals = {"kind": "poisson", "request_rate": rate}
    return {"kind": "synthetic", "arrivals": arrivals, "lengths": LENGTHS, "count": 2000} | more


def fixed(value: float) -> dict[str, Any]:
    return {"kind": "fixed", "value": value}


class Listed:
    """A source of given times, in blocks of given sizes; the prompt tells where a row came from."""

    def __init__(self, times: list[int], block: int, tag: int) -> None:
        self.times, self.block, self.tag = times, block, tag

    def columns(self) -> Any:
        for start in range(0, len(self.times), self.block):
            part = np.asarray(self.times[start : start + self.block], dtype=np.int64)
            yield Columns(part, np.full(len(part), self.tag), np.ones(len(part), dtype=np.int64))


@given(
    st.lists(st.tuples(st.lists(st.integers(0, 30), max_size=20), st.integers(1, 7)), min_size=1, max_size=4),
    st.none() | st.integers(1, 30),
)
def test_merging_is_a_stable_merge(parts: list[tuple[list[int], int]], first: int | None) -> None:
    """The merge holds every row once, in order of time, equal times in order of the parts, cut after ``first``."""
    sources: list[ColumnSource] = [Listed(sorted(times), block, tag) for tag, (times, block) in enumerate(parts)]
    merged = concatenate(list(MergedColumns(sources, first).columns()))
    expected = sorted((time, tag) for tag, (times, _) in enumerate(parts) for time in times)
    pairs = list(zip(merged.arrival_ns.tolist(), merged.prompt_tokens.tolist(), strict=True))
    assert pairs == expected[:first]


def test_phases_follow_each_other() -> None:
    """Each phase is cut off at its end and shifted to its start; the sequence repeats."""
    sources = [(2.0, Listed([0, 1_000_000_000, 2_000_000_000], 1, 1)), (1.0, Listed([500_000_000], 1, 2))]
    whole = concatenate(list(PhasedColumns(sources, 2).columns()))
    assert (whole.arrival_ns / 1e9).tolist() == [0.0, 1.0, 2.5, 3.0, 4.0, 5.5]
    assert whole.prompt_tokens.tolist() == [1, 1, 2, 1, 1, 2]


def test_mixes_add_rates_and_keep_parts_apart(rows: Callable[..., Any]) -> None:
    """Two Poisson parts make one of the summed rate; equal parts draw differently; tenants stay with their rows."""
    parts = [synthetic(10, count=None, duration_s=500, traits={"tenant": name}) for name in ("a", "b")]
    block = rows({"kind": "mix", "parts": parts})
    assert len(block) == pytest.approx(10_000, abs=400)
    counts = Counter(one.tenant for one in block.attributes)
    assert counts["a"] == pytest.approx(5000, abs=280)
    assert counts["a"] != counts["b"]
    assert len(rows({"kind": "mix", "parts": parts, "first": 100})) == 100


def test_synthetic_is_reproducible_and_seeded(rows: Callable[..., Any]) -> None:
    """The same seed gives the same rows, another seed others; changing lengths leaves arrivals alone."""
    one, again, other = rows(synthetic(), 1), rows(synthetic(), 1), rows(synthetic(), 2)
    assert np.array_equal(one.arrival_ns, again.arrival_ns)
    assert np.array_equal(one.prompt_tokens, again.prompt_tokens)
    assert not np.array_equal(one.arrival_ns, other.arrival_ns)
    longer = rows(synthetic(lengths={"prompt": fixed(5), "output": fixed(6)}), 1)
    assert np.array_equal(one.arrival_ns, longer.arrival_ns)


def test_requests_come_in_bounded_lists_with_ids_in_order(requests: Callable[..., Any]) -> None:
    """Ids count from 0 in order of production and arrival times never decrease."""
    made = requests(synthetic(count=10_000))
    assert [one.request_id for one in made] == list(range(10_000))
    assert all(one.arrival_ns <= two.arrival_ns for one, two in pairwise(made))


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


def test_sorting_is_stable() -> None:
    """Equal times keep their order."""
    block = Columns(np.array([5, 3, 3]), np.array([1, 2, 3]), np.array([1, 1, 1]))
    assert sort_by_arrival(block).prompt_tokens.tolist() == [2, 3, 1]
    assert len(concatenate([])) == 0
