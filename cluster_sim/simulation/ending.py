"""End of a run, the same for every executor: its instant, requests that wait in vain, and the results of the hub."""

from collections.abc import Sequence
from typing import Final

from cluster_sim.engine.coordinator import Traffic
from cluster_sim.engine.instant import NEVER, Instant, Kind, instant, time_of
from cluster_sim.errors import UnfinishedError
from cluster_sim.routing.hub import RouterHub
from cluster_sim.serving.replica import Replica
from cluster_sim.shown_values import by_number, counted
from cluster_sim.simulation.fleet_figures import fleet_figures
from cluster_sim.simulation.run_recorder import HubResult, RunRecorder

_SHOWN: Final = 10
"""How many requests or replicas a message names."""


def end_of(run_end: Instant, hub: RouterHub) -> Instant:
    """Return the study's own end, or without one the last time that a row shows."""
    return run_end if run_end < NEVER else instant(hub.end_ns, Kind.RUN_END)


def check_nobody_waits(run_end: Instant, hub: RouterHub, replicas: Sequence[Replica] = ()) -> None:
    """Refuse the end of a run without an end of its own while requests are on their way; raises UnfinishedError.

    ``replicas`` are those of this process, if any: the message names the requests that wait there.
    """
    if run_end < NEVER or not hub.in_flight:
        return
    ids = hub.in_flight_ids()
    waiting = {replica.settings.index: replica.waiting_ids() for replica in replicas}
    places = [f"; replica {index} holds {held[:_SHOWN]}" for index, held in waiting.items() if held]
    raise UnfinishedError(
        f"{counted(len(ids), 'request')} never {by_number(len(ids), 'finishes', 'finish')}, the first "
        f"{ids[:_SHOWN]}: nothing is left that could happen{''.join(places[:_SHOWN])}"
    )


def close_hub(hub: RouterHub, recorder: RunRecorder, traffic: Traffic, end: Instant) -> HubResult:
    """Complete the recording and return its result."""
    hub.close()
    recorder.close()
    return HubResult(
        recorder.totals.snapshot(),
        recorder.digest.hexdigest(),
        time_of(end),
        hub.arrived,
        {name: getattr(traffic, name) for name in ("rounds", "windows", "sends", "messages")},
        recorder.rows,
        hub.joined_pools,
        hub.moved_bytes,
        fleet_figures(hub),
        hub.encoder_work(time_of(end)),
    )
