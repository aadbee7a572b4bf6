"""Filters by hand."""

import pytest

from cluster_sim.errors import InputError
from cluster_sim.routing.candidates import Candidate, StepFigures
from tests.routing.endpoint_picker.picking import config, decode, kept, prompt, request, scheduler

ROLES = ["", "decode", "prefill", "encode", "prefill-decode", "both", "encode-prefill", "encode-prefill-decode"]
LABEL = "llm-d.ai/context-length-range"
MS = 1_000_000


def with_roles(*names: str) -> list[Candidate]:
    return [Candidate(number, role=role, kv_blocks=100, block_size=16) for number, role in enumerate(names)]


@pytest.mark.parametrize(
    ("name", "roles"),
    [
        ("decode-filter", {"", "decode", "prefill-decode", "both", "encode-prefill-decode"}),
        ("prefill-filter", {"prefill", "encode-prefill", "prefill-decode", "both", "encode-prefill-decode"}),
        ("encode-filter", {"encode", "encode-prefill", "encode-prefill-decode"}),
    ],
)
def test_role_filters(name: str, roles: set[str]) -> None:
    """Each keeps its roles; only decode keeps pools without one."""
    built = scheduler(config(name), with_roles(*ROLES))
    assert {ROLES[position] for position in kept(built, name, request())} == roles


def test_by_label() -> None:
    """Values that are valid pass, others not; without the label only if that is allowed; the role is a label too."""
    members = [Candidate(0, labels={"tier": "gold"}), Candidate(1, labels={"tier": "tin"}), Candidate(2, role="decode")]
    parameters = {"label": "tier", "validValues": ["gold", "silver"]}
    built = scheduler(config({"type": "by-label", "parameters": parameters}), members)
    assert kept(built, "by-label", request()) == [0]
    built = scheduler(config({"type": "by-label", "parameters": {**parameters, "allowsNoLabel": True}}), members)
    assert kept(built, "by-label", request()) == [0, 2]
    role = {"label": "llm-d.ai/role", "validValues": ["decode"]}
    assert kept(scheduler(config({"type": "by-label", "parameters": role}), members), "by-label", request()) == [2]


def test_label_selector() -> None:
    """Every label and every expression must hold; NotIn holds without the label."""
    members = [
        Candidate(0, labels={"tier": "gold", "zone": "a"}),
        Candidate(1, labels={"tier": "gold", "zone": "b"}),
        Candidate(2, labels={"tier": "gold"}),
        Candidate(3, labels={"zone": "b", "tier": "gold", "old": "yes"}),
    ]
    parameters = {
        "matchLabels": {"tier": "gold"},
        "matchExpressions": [
            {"key": "zone", "operator": "NotIn", "values": ["a"]},
            {"key": "old", "operator": "DoesNotExist"},
        ],
    }
    built = scheduler(config({"type": "label-selector-filter", "parameters": parameters}), members)
    assert kept(built, "label-selector-filter", request()) == [1, 2]
    parameters["matchExpressions"] = [
        {"key": "zone", "operator": "In", "values": ["a", "b"]},
        {"key": "old", "operator": "Exists"},
    ]
    built = scheduler(config({"type": "label-selector-filter", "parameters": parameters}), members)
    assert kept(built, "label-selector-filter", request()) == [3]


def test_context_length_filter() -> None:
    """If asked to, it keeps ranges that have the prompt and pools without a label, not unreadable ones."""
    labels = [{LABEL: "0-100"}, {LABEL: "101-900"}, {}, {LABEL: "x"}]
    members = [Candidate(number, labels=each) for number, each in enumerate(labels)]
    plain = scheduler(config("context-length-aware"), members)
    assert kept(plain, "context-length-aware", request(tokens=64)) == [0, 1, 2, 3]
    filtering = {"type": "context-length-aware", "parameters": {"enableFiltering": True}}
    built = scheduler(config(filtering), members)
    assert kept(built, "context-length-aware", request(tokens=64)) == [0, 2]
    assert kept(built, "context-length-aware", request(tokens=101)) == [1, 2]


def test_prefix_cache_affinity() -> None:
    """Four of five blocks are sticky, three of five are not; with nobody sticky all stay."""
    never = {"type": "prefix-cache-affinity-filter", "parameters": {"explorationProbability": 0}}
    built = scheduler(config("prefix-cache-scorer", never))
    assert kept(built, "prefix-cache-affinity-filter", prompt((1, 64), (2, 16))) == [0, 1, 2]
    decode(built, prompt((1, 64)), [1])
    assert kept(built, "prefix-cache-affinity-filter", prompt((1, 64), (2, 16))) == [1]
    assert kept(built, "prefix-cache-affinity-filter", prompt((1, 48), (2, 32))) == [0, 1, 2]
    always = {"type": "prefix-cache-affinity-filter", "parameters": {"explorationProbability": 1}}
    built = scheduler(config("prefix-cache-scorer", always))
    decode(built, prompt((1, 64)), [1])
    assert kept(built, "prefix-cache-affinity-filter", prompt((1, 64))) == [0, 1, 2]


def test_prefix_cache_affinity_gives_way_to_a_long_wait() -> None:
    """At 1 ms a token the sticky endpoint is 6,000 ms behind: all stay; at 4,000 ms it is kept."""
    members = [
        Candidate(number, kv_blocks=1000, block_size=16, step_figures=StepFigures(0, 0, MS)) for number in range(2)
    ]
    never = {"type": "prefix-cache-affinity-filter", "parameters": {"explorationProbability": 0}}
    built = scheduler(config("prefix-cache-scorer", never), members)
    decode(built, prompt((1, 64)), [0])
    built.endpoints.unprefilled_tokens[:] = [6064, 0]
    assert kept(built, "prefix-cache-affinity-filter", prompt((1, 64))) == [0, 1]
    built.endpoints.unprefilled_tokens[:] = [4064, 0]
    assert kept(built, "prefix-cache-affinity-filter", prompt((1, 64))) == [0]


def test_slo_headroom_tiers() -> None:
    """Predictions of 1 ms a prompt token and 1 ms a running request against 100 ms and 5 ms: the tiers in order."""
    members = [Candidate(number, block_size=16, step_figures=StepFigures(0, MS, MS)) for number in range(3)]
    never = {"type": "slo-headroom-tier-filter", "parameters": {"epsilon": 0}}
    built = scheduler(config(never), members, {"": (100 * MS, 5 * MS)})
    endpoints = built.endpoints

    def tier(unprefilled: list[int], running: list[int], in_flight: list[int]) -> list[int]:
        endpoints.unprefilled_tokens[:], endpoints.running[:] = unprefilled, running
        endpoints.in_flight[:] = in_flight
        return kept(built, "slo-headroom-tier-filter", request(tokens=64))

    assert tier([0, 36, 37], [0, 4, 0], [1, 1, 1]) == [0, 1]
    assert tier([37, 37, 37], [5, 5, 5], [1, 0, 1]) == [1]
    assert tier([36, 37, 0], [5, 0, 9], [1, 1, 1]) == [0, 2]
    assert tier([37, 37, 37], [0, 5, 9], [1, 1, 1]) == [0]
    assert tier([37, 37, 37], [5, 5, 9], [1, 1, 1]) == [0, 1, 2]


def test_slo_headroom_explores() -> None:
    """With probability 1 those without headroom are taken, if there are any; without predictions all stay."""
    members = [Candidate(number, block_size=16, step_figures=StepFigures(0, MS, MS)) for number in range(3)]
    always = {"type": "slo-headroom-tier-filter", "parameters": {"epsilon": 1}}
    built = scheduler(config(always), members, {"": (100 * MS, 5 * MS)})
    assert kept(built, "slo-headroom-tier-filter", request(tokens=64)) == [0, 1, 2]
    built.endpoints.unprefilled_tokens[:] = [0, 50, 0]
    assert kept(built, "slo-headroom-tier-filter", request(tokens=64)) == [1]
    assert kept(scheduler(config(always)), "slo-headroom-tier-filter", request()) == [0, 1, 2]


def test_a_profile_that_keeps_nobody_is_refused() -> None:
    """A fleet of prompts cannot be decoded by a file with a decode filter."""
    with pytest.raises(InputError, match=r"its profile 'default' keeps no replica: decode-filter leaves none"):
        scheduler(config("decode-filter"), with_roles("prefill", "prefill"))


def test_nobody_left_of_those_eligible() -> None:
    """If filters leave none of the eligible, one of these is drawn."""
    built = scheduler(config("decode-filter"), with_roles("prefill", "prefill", "decode"))
    assert {decode(built, request(number), [0, 1]) for number in range(30)} == {0, 1}
    assert decode(built, request(0)) == 2
