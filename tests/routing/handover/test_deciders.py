from typing import Any

import pytest

from cluster_sim.routing.handover.decider_interface import DECIDERS, Situation, build_decider


def hands_over(kind: str, situation: Situation, **options: Any) -> bool:
    chosen = DECIDERS.get(kind).options.model_validate({"kind": kind, **options})
    return build_decider(chosen).hands_over(situation)  # type: ignore[arg-type]


def test_always_and_never() -> None:
    """They read nothing."""
    assert hands_over("always", Situation(1, 0, 0))
    assert not hands_over("never", Situation(100_000, 0, 0))


@pytest.mark.parametrize(
    ("least", "prompt", "cached", "expected"),
    [(16, 100, 84, True), (16, 100, 85, False), (0, 100, 0, False), (16, 100, -1, False), (16, 16, 0, True)],
)
def test_uncached_tokens(least: int, prompt: int, cached: int, expected: bool) -> None:
    """llm-d: uncached >= nonCachedTokens; never with a threshold of 0 or without match data."""
    assert hands_over("uncached_tokens", Situation(prompt, cached, 0), least_tokens=least) is expected


@pytest.mark.parametrize(("prompt", "expected"), [(511, False), (512, True)])
def test_prompt_length(prompt: int, expected: bool) -> None:
    """The threshold itself is handed over, whatever is cached."""
    assert hands_over("prompt_length", Situation(prompt, prompt - 1, 9)) is expected


@pytest.mark.parametrize(
    ("prompt", "cached", "queued", "expected"),
    [(1001, 0, 1, True), (1000, 0, 0, False), (1500, 600, 0, False), (1001, -1, 1, True), (1001, 0, 2, False)],
)
def test_queue_length(prompt: int, cached: int, queued: int, expected: bool) -> None:
    """Dynamo: effective prompt above 1,000 and fewer than 2 in the queue."""
    assert hands_over("queue_length", Situation(prompt, cached, queued)) is expected
