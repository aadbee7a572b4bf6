"""Searches of little effort, for queues that show enough in a few hundred requests."""

import pytest

from cluster_sim.study import capacity, rate_judgement
from cluster_sim.study.rate_judgement import Effort


def make_small(monkeypatch: pytest.MonkeyPatch, sure: int = 400) -> None:
    """Let searches make short runs, and few of them."""
    monkeypatch.setattr(capacity, "SEARCH", Effort(200, 2))
    monkeypatch.setattr(capacity, "SURE", Effort(sure, 3))
    monkeypatch.setattr(capacity, "BURST_REQUESTS", 100)
    monkeypatch.setattr(rate_judgement, "FIRST_REQUESTS", 200)
    monkeypatch.setattr(rate_judgement, "MOST_REQUESTS", 2 * sure)
