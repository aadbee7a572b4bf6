"""The router and group actors as plain objects in threads of this process: real sockets, no Ray."""

import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from actors.group_actor import GroupActor
from actors.network import Network
from actors.router_actor import RouterActor
from actors.run_spec import RunSpec
from actors.transport import LinkSettings, WaitLimits
from cluster_sim.engine.loop import ProtocolError
from tests.engine.phold import Phold
from tests.engine.phold_run import FaultyGroup, PholdRun, phold_reference
from tests.engine.star import split

STUDY = Phold(processes=5, balls=9, is_sampled=True, period_ns=25, latency_ns=2)


@pytest.fixture
def settings(network: Network) -> LinkSettings:
    """Settings of one run."""
    return LinkSettings("run", network, limits=WaitLimits(5, 5, 5))


def start(spec: RunSpec, groups: list[list[int]], settings: LinkSettings) -> tuple[Any, list[GroupActor], RouterActor]:
    """Build and start every actor here; return the router's run as a thunk, the groups and the router."""
    router = RouterActor()
    endpoint = router.build(spec, groups, settings)
    actors = [GroupActor(index) for index in range(len(groups))]
    for actor, members in zip(actors, groups, strict=True):
        assert actor.build(spec, members, settings, 0) == ("", [])
        actor.start(endpoint, "")
    return router.run, actors, router


@pytest.mark.parametrize("groups", [1, 3])
def test_run_equals_the_reference(groups: int, settings: LinkSettings) -> None:
    """Every process handles the same events in the same order as in one sequential program."""
    run, actors, router = start(PholdRun(STUDY), split(STUDY.processes, groups), settings)
    hub = run()
    assert [actor.watch() for actor in actors] == [""] * groups
    processes = sorted(process for actor in actors for process in actor.results()[1])
    assert (*hub, *(digest for _, digest in processes)) == phold_reference(STUDY)
    status = router.status()
    assert status is not None
    assert status.windows > 5
    assert status.progress == hub[1]
    assert "smallest bound" in status.wait


def test_status_before_and_while_building() -> None:
    """The router answers at any time; before it is built there is no status."""
    assert RouterActor().status() is None


def test_model_error_names_actor_and_cause(settings: LinkSettings) -> None:
    """An exception inside a replica ends the run with its text, at the router and in the actor's own watch."""
    run, actors, _ = start(PholdRun(STUDY, FaultyGroup), split(STUDY.processes, 2), settings)
    with pytest.raises(ProtocolError, match=r"actor \d failed: RuntimeError: the model broke \(File .*phold_run"):
        run()
    give_up = time.monotonic() + 30
    while all(actor._thread.is_alive() for actor in actors) and time.monotonic() < give_up:
        time.sleep(0.01)  # The router hears of it before the thread that fails has quite ended.
    assert "RuntimeError: the model broke" in {actor.watch() for actor in actors if not actor._thread.is_alive()}


def test_actor_that_never_starts_is_named(settings: LinkSettings) -> None:
    """A router whose groups do not connect says which."""
    router = RouterActor()
    router.build(PholdRun(STUDY), split(STUDY.processes, 2), replace(settings, limits=WaitLimits(start_s=0.05)))
    with pytest.raises(ProtocolError, match=r"waited 0.05 s for actors \[0, 1\] \(2 of 2\) to connect"):
        router.run()


def test_drain_waits_for_the_window(settings: LinkSettings) -> None:
    """Series are collected between two windows, never in the middle of one."""
    actor = GroupActor(0)
    actor.build(PholdRun(STUDY), [0], settings, 0)
    actor._lock.acquire()
    drained = threading.Thread(target=actor.drain, daemon=True)
    drained.start()
    drained.join(0.05)
    assert drained.is_alive()
    actor._lock.release()
    drained.join(5)
    assert not drained.is_alive()
