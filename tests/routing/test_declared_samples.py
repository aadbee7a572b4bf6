"""Samples reduced to the figures that a policy declares."""

from collections.abc import Sequence

import pytest

from cluster_sim.engine.observation import Observation, strictest
from cluster_sim.errors import InputError
from cluster_sim.routing.candidates import Candidates
from cluster_sim.routing.declared_samples import DeclaredView
from cluster_sim.routing.options import RouterOptions
from cluster_sim.routing.policy_interface import RoutingPolicy
from cluster_sim.serving.messages import Sample
from cluster_sim.workload.request import Request
from tests.copied import copied

SAMPLE = Sample(3, 4, 5, 0.25)


def test_declared_figures_can_be_read() -> None:
    """One, two and three declared figures are those of the sample."""
    assert DeclaredView("p", ("waiting",))(SAMPLE).waiting == 5
    two = DeclaredView("p", ("kv_used_ratio", "running"))(SAMPLE)
    assert (two.running, two.kv_used_ratio) == (4, 0.25)
    three = DeclaredView("p", ("running", "waiting", "kv_used_ratio"))(SAMPLE)
    assert (three.running, three.waiting, three.kv_used_ratio) == (4, 5, 0.25)


def test_reading_another_figure_names_it_and_the_policy() -> None:
    """What is not declared is an error also for ``getattr`` with a default, which would hide an AttributeError."""
    declared = DeclaredView("by_cache", ("running",))(SAMPLE)
    message = "the routing policy 'by_cache' reads kv_used_ratio, which it does not declare; add 'kv_used_ratio'"
    with pytest.raises(InputError, match=message):
        _ = declared.kv_used_ratio
    with pytest.raises(InputError, match=message):
        getattr(declared, "kv_used_ratio", 0.0)
    assert not hasattr(declared, "temperature")
    assert DeclaredView("blind", ())(SAMPLE) == ()


def test_views_and_samples_survive_a_snapshot() -> None:
    """A view, and a sample that a policy has kept, are the same afterwards."""
    view = copied(DeclaredView("p", ("waiting", "running")))
    kept = copied(view(SAMPLE))
    assert (kept.running, kept.waiting) == (4, 5)
    with pytest.raises(InputError, match="reads kv_used_ratio"):
        _ = kept.kv_used_ratio


def test_figures_that_nobody_samples_cannot_be_declared() -> None:
    """A class that declares an unknown figure is refused when it is defined."""
    with pytest.raises(TypeError, match=r"Wishful\.sampled_fields: no replica samples temperature; known: running"):

        class Wishful(RoutingPolicy):
            sampled_fields = ("running", "temperature")

            def choose(self, request: Request, now_ns: int, eligible: Sequence[int] | None) -> int:
                del request, now_ns, eligible
                return 0


def test_a_choose_without_the_eligible_is_refused() -> None:
    """A policy written before requests were kept from replicas that cannot run them is refused when it is defined."""
    with pytest.raises(TypeError, match=r"Older\.choose must take request, now_ns and eligible"):

        class Older(RoutingPolicy):
            def choose(self, request: Request, now_ns: int) -> int:  # type: ignore[override]
                return request.request_id + now_ns


def test_the_strictest_observation_samples_what_anybody_reads() -> None:
    """The figures of several components are joined."""
    one = Observation(telemetry=True, period_ns=5, sampled_fields=frozenset({"running"}))
    other = Observation(telemetry=True, period_ns=5, sampled_fields=frozenset({"kv_used_ratio"}))
    assert strictest([one, other]).sampled_fields == {"running", "kv_used_ratio"}


def test_a_policy_that_declares_nothing_observes_nothing() -> None:
    """Telemetry settings of the study do not make a policy wait that reads no sample."""

    class Blind(RoutingPolicy):
        def choose(self, request: Request, now_ns: int, eligible: Sequence[int] | None) -> int:
            del request, now_ns, eligible
            return 0

    options = RouterOptions(policy="blind")
    assert Blind(options, Candidates(1, 0, [0])).observation == Observation()
