"""Client profiles, with and without conversations."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.workload.sections import LENGTHS, POISSON, by_session, fixed


def test_clients_with_conversations(drive: Callable[..., Any]) -> None:
    """Arrivals are shared out by share; conversing profiles continue, the others send one request."""
    profiles = [
        {"name": "chat", "share": 3, "lengths": LENGTHS,
         "conversation": {"turns": fixed(3), "think_time_s": fixed(1), "probability": 0.5}},
        {"name": "batch", "share": 1, "lengths": LENGTHS, "traits": {"priority": 5, "tenant": "acme"}},
    ]  # fmt: skip
    section = {"kind": "clients", "arrivals": POISSON, "count": 2000, "profiles": profiles}
    source, driven = drive(section)
    assert source.completed == 2000
    tenants = Counter(one.attributes.tenant for one in driven.requests if one.attributes.turn == 0)
    assert tenants["chat"] / 2000 == pytest.approx(0.75, abs=0.03)
    lengths = Counter(len(turns) for turns in by_session(driven.requests).values())
    assert lengths[3] / 1500 == pytest.approx(0.5, abs=0.05)
    assert lengths[1] + lengths[3] == 2000
    assert {one.attributes.priority for one in driven.requests if one.attributes.tenant == "acme"} == {5}


def test_open_loop_clients(requests: Callable[..., Any]) -> None:
    """Without conversations clients are open loop: ids in order, shares kept, each profile its own traits."""
    profiles = [
        {"name": "a", "share": 1, "lengths": {"prompt": fixed(1), "output": fixed(1)}},
        {"name": "b", "share": 4, "lengths": {"prompt": fixed(2), "output": fixed(2)}, "traits": {"slo_class": "gold"}},
    ]
    section = {"kind": "clients", "arrivals": POISSON, "count": 10_000, "profiles": profiles}
    made_requests = requests(section)
    assert [one.request_id for one in made_requests] == list(range(10_000))
    gold = [one for one in made_requests if one.attributes.slo_class == "gold"]
    assert len(gold) / 10_000 == pytest.approx(0.8, abs=0.02)
    assert {(one.prompt_tokens, one.attributes.tenant) for one in gold} == {(2, "b")}
