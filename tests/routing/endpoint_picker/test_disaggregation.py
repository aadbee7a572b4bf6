"""Profile handlers and deciders by hand: where prompts are computed."""

from typing import Any

import pytest

from cluster_sim.errors import InputError
from cluster_sim.routing.candidates import Candidate
from cluster_sim.routing.endpoint_picker.scheduler import EndpointScheduler
from cluster_sim.workload.request import Request
from tests.routing.endpoint_picker.picking import config, prompt, request, scheduler

MEMBERS = [
    Candidate(number, role=role, kv_blocks=1000, block_size=16)
    for number, role in enumerate(["decode", "decode", "prefill", "prefill"])
]
PROFILES = [
    {"name": "prefill", "plugins": [{"pluginRef": "prefill-filter"}, {"pluginRef": "prefix-cache-scorer"}]},
    {"name": "decode", "plugins": [{"pluginRef": "decode-filter"}, {"pluginRef": "prefix-cache-scorer"}]},
]
FILTERS = ("prefill-filter", "decode-filter", "prefix-cache-scorer")


def handled_by(decider: str, parameters: dict[str, Any] | None = None) -> EndpointScheduler:
    handler = {"type": "disagg-profile-handler", "parameters": {"deciders": {"prefill": decider}}}
    plugin = {"type": decider, "parameters": parameters or {}}
    return scheduler(config(*FILTERS, plugin, handler, schedulingProfiles=PROFILES), MEMBERS)


def pair(built: EndpointScheduler, asked: Request) -> tuple[int, int]:
    selection = built.schedule(asked, 0, [0, 1], [2, 3])
    return selection.decode, selection.prefill


def test_prefix_based_decider() -> None:
    """At least 40 uncached tokens are split; of 64 + 32 tokens, 64 of them cached at the decode endpoint, 32 are not.

    Both endpoints of a split prompt are recorded.
    """
    built = handled_by("prefix-based-pd-decider", {"nonCachedTokens": 40})
    decode, prefill = pair(built, prompt((1, 64)))
    assert decode in (0, 1)
    assert prefill in (2, 3)
    assert pair(built, prompt((1, 64), (2, 32), number=1)) == (decode, -1)
    assert pair(built, prompt((1, 64), (3, 40), number=2)) == (decode, prefill)


def test_prefix_based_decider_off() -> None:
    """0 tokens, the default, never split, nor does a file in which nobody knows prefixes."""
    assert pair(handled_by("prefix-based-pd-decider"), prompt((1, 640)))[1] == -1
    handler = {"type": "disagg-profile-handler", "parameters": {"deciders": {"prefill": "prefix-based-pd-decider"}}}
    decider = {"type": "prefix-based-pd-decider", "parameters": {"nonCachedTokens": 1}}
    profiles = [{"name": "decode", "plugins": []}, {"name": "prefill", "plugins": []}]
    built = scheduler(config(decider, handler, schedulingProfiles=profiles), MEMBERS)
    assert pair(built, prompt((1, 640)))[1] == -1


def test_other_deciders() -> None:
    """Always; from a length on; requests with encoder tokens."""
    assert pair(handled_by("always-disagg-pd-decider"), request(tokens=1))[1] >= 2
    by_length = handled_by("prompt-length-based-pd-decider", {"promptTokens": 100})
    assert pair(by_length, request(tokens=100))[1] >= 2
    assert pair(by_length, request(1, 99))[1] == -1
    assert pair(handled_by("always-disagg-multimodal-decider"), request(2, 99, encoder_tokens=9))[1] >= 2


def test_older_handler() -> None:
    """Below the threshold of uncached tokens the decode endpoint computes the prompt; one of 0 always splits."""
    older = {"type": "pd-profile-handler", "parameters": {"threshold": 50, "hashBlockSize": 5}}
    built = scheduler(config(*FILTERS, older, schedulingProfiles=PROFILES), MEMBERS)
    assert pair(built, prompt((1, 49)))[1] == -1
    assert pair(built, prompt((2, 50), number=1))[1] >= 2
    built = scheduler(config(*FILTERS, "pd-profile-handler", schedulingProfiles=PROFILES), MEMBERS)
    assert pair(built, prompt((1, 1)))[1] >= 2


def test_a_fleet_without_pools_for_prompts() -> None:
    """Where nobody computes prompts the decode endpoint does; where everybody can do both, two endpoints share it."""
    handler = {"type": "disagg-profile-handler", "parameters": {"deciders": {"prefill": "always-disagg-pd-decider"}}}
    document = config(*FILTERS, "always-disagg-pd-decider", handler, schedulingProfiles=PROFILES)
    plain = scheduler(document, [Candidate(number, kv_blocks=100, block_size=16) for number in range(2)])
    selection = plain.schedule(request(), 0, None, None)
    assert selection.prefill == -1
    assert selection.decode in (0, 1)
    one = scheduler(document, [Candidate(0, role="both", kv_blocks=100, block_size=16)])
    assert one.schedule(request(), 0, None, None).prefill == -1


def test_profiles_that_are_missing() -> None:
    """The handler's profiles and its decider must be there, and several profiles need a handler."""
    handler = {"type": "disagg-profile-handler", "parameters": {"deciders": {"prefill": "always-disagg-pd-decider"}}}
    with pytest.raises(InputError, match="has no profile 'prefill', which disagg-profile-handler runs if always"):
        scheduler(config("always-disagg-pd-decider", handler, schedulingProfiles=[{"name": "decode"}]))
    with pytest.raises(InputError, match="names the decider 'always-disagg-pd-decider', which the file does not have"):
        scheduler(config(handler, schedulingProfiles=[{"name": "decode"}, {"name": "prefill"}]))
    with pytest.raises(InputError, match="has no profile 'decode', which disagg-profile-handler runs first"):
        scheduler(config("disagg-profile-handler"))
    with pytest.raises(InputError, match=r"has 2 profiles \(a, b\), and single-profile-handler takes one"):
        scheduler(config("single-profile-handler", schedulingProfiles=[{"name": "a"}, {"name": "b"}]))
