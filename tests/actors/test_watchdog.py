"""Waits of a run that are named while it goes on."""

from actors.router_actor import RouterStatus
from actors.watchdog import WARN_S, Watchdog
from cluster_sim.engine.instant import instant


def status(waits_s: dict[int, float], time_ns: int = 9_870_000_000) -> RouterStatus:
    return RouterStatus(instant(time_ns, 5), 7, "", None, 0, waits_s)


def test_a_wait_is_named_at_the_limit_and_when_it_has_doubled() -> None:
    """Shorter waits are not named; a group that has answered starts anew; each has a count of its own."""
    said: list[str] = []
    watchdog = Watchdog(["node a (process 1)", "node b (process 2)"], "node a (process 3)", said.append, 10.0)
    watchdog.on_status(status({0: 9.9, 1: 2.0}))
    assert said == []
    for waited_s in (12.0, 13.0, 23.0, 24.0, 47.0, 48.0):
        watchdog.on_status(status({0: waited_s, 1: 0.1}))
    at = ", at 9.87 s simulated"
    assert said == [f"waiting for group 0 on node a (process 1) for {seconds} s{at}" for seconds in (12, 24, 48)]
    watchdog.on_status(status({}))
    watchdog.on_status(status({0: 10.0, 1: 11.0}))
    assert said[3:] == [
        f"waiting for group 0 on node a (process 1) for 10 s{at}",
        f"waiting for group 1 on node b (process 2) for 11 s{at}",
    ]


def test_a_silent_router_and_actors_that_do_not_end_are_named() -> None:
    """The router counts from the question it has not answered, actors from the router's end."""
    said: list[str] = []
    watchdog = Watchdog(["node a (process 1)"], "node a (process 3)", said.append, 10.0)
    for waited_s in (5.0, 10.0, 15.0):
        watchdog.on_silence(waited_s)
    watchdog.on_status(status({}))
    watchdog.on_silence(11.0)
    watchdog.on_ending(["stage 0 of actor 0"], 12.0)
    assert said == [
        "waiting for the router on node a (process 3) for 10 s",
        "waiting for the router on node a (process 3) for 11 s, at 9.87 s simulated",
        "waiting for stage 0 of actor 0 for 12 s, at 9.87 s simulated",
    ]
    assert WARN_S < 10
