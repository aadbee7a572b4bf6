"""A replica driven by a list of messages, however its horizons are cut: what it leaves must be the same."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cluster_sim.engine.instant import NEVER, Instant, Kind, instant, time_of
from cluster_sim.engine.observation import Observation
from cluster_sim.engine.process import HUB_SOURCE, Join, Message
from cluster_sim.errors import InputError
from cluster_sim.serving.lives.timeline import Timeline
from cluster_sim.serving.messages import Cancellation, Departure, Dispatch, FirstToken, Leave, Response, Sample
from cluster_sim.serving.replica import Replica
from tests.engine.small_fleet import MS, SmallFleet, draw_varied_fleet, simulation_of
from tests.serving.schedulers.test_data_parallel import draw_ranked

Choose = Callable[[int], int]


@dataclass(frozen=True)
class Drive:
    """One replica's study."""

    small: SmallFleet
    timeline: Timeline
    messages: tuple[Message, ...]
    """In the order of their instants."""
    observation: Observation
    end_ns: int
    is_joining: bool = False
    run_end: Instant = NEVER

    def build(self, *, macro_steps: bool, is_streamed: bool = False) -> Replica:
        """Build the replica; raises InputError if its options do not fit together."""
        small = replace(self.small, macro_steps=macro_steps)
        simulation = simulation_of(small)
        (pool,) = simulation.pools
        # Cancellations come as late as they like.
        pool = replace(pool, delays=pool.delays._replace(forward_ns=1 << 50))
        simulation = replace(
            simulation, pools=(pool,), timeline_of=lambda *_: self.timeline, client_timeout_ns=1, run_end=self.run_end
        )
        pool_number = 0 if self.is_joining else None
        return simulation.build_replica(0, self.observation, is_streamed=is_streamed, pool=pool_number)


def drive(
    study: Drive, *, macro_steps: bool, horizons: Sequence[Instant] = (), restores: Choose | None = None
) -> dict[str, Any]:
    """Run a replica through ``horizons`` and to its end; return what it leaves."""
    replica = study.build(macro_steps=macro_steps)
    floors, tokens_per_step = replica._guarantees._floors, replica.settings.limits.tokens_per_step
    end = instant(study.end_ns, Kind.RUN_END)
    left = list(study.messages)
    out: list[Message] = []
    for horizon in [*sorted(moment for moment in horizons if moment < end), end]:
        before = replica._horizon
        received = False
        bounds = replica.output_times()
        while left and left[0].instant < horizon:
            message = left.pop(0)
            if not received:
                received = True
                first = instant(time_of(message.instant) + floors.traversal_ns, Kind.RESPONSE)
                allowed = min(bounds.conditional, max(bounds.unconditional, first))
            if isinstance(message.payload, Dispatch):
                batches = 1 if study.observation.first_tokens else message.payload.fewest_batches(tokens_per_step)
                cost_ns = floors.cost_ns(batches)
                allowed = min(allowed, instant(time_of(message.instant) + cost_ns, Kind.RESPONSE))
            replica.receive(message)
        sent = replica.advance(horizon)
        check_guarantees(replica, sent, allowed if received else bounds.conditional, before)
        out += sent
        if restores is not None and not restores(3):
            restored = study.build(macro_steps=macro_steps)
            restored.restore(replica.snapshot())
            replica = restored
    replica.finish(end)
    counters = replica.log.counters(study.end_ns)
    series = {name: column.tolist() for name, column in replica.log.take_series().items()}
    return {
        "messages": sorted(map(shown, out) if not replica.settings.samples_kv else out),
        "counters": counters,
        "series": series,
        "coverage": replica.pipeline.coverage,
        "state": replica.counters()[:3],
    }


def shown(message: Message) -> Message:
    """Return a message without a KV usage that nobody reads."""
    if isinstance(message.payload, Sample):
        return message._replace(payload=message.payload._replace(kv_used_ratio=0.0))
    return message


def check_guarantees(replica: Replica, sent: Sequence[Message], allowed: Instant, since: Instant) -> None:
    """Nothing that is an event may come before what the replica promised before it was advanced."""
    back = instant(replica.settings.return_ns, 0)
    for message in sent:
        if isinstance(message.payload, Response | FirstToken) and allowed < NEVER:
            assert message.instant >= allowed + back, (message, allowed, since)


def draw_drive(choose: Choose) -> Drive | None:
    """Return a random study of one replica with faults; None if its options are refused."""
    small = draw_ranked(choose) if not choose(5) else draw_varied_fleet(choose)
    small = replace(small, users=0, end_ms=None, replicas=1)
    span = max(1, round(max((at for at, _, _ in small.arrivals), default=1.0) * 1.5 + 30))

    def moment() -> int:
        """Return a time within the study, in ns; often a whole number of half milliseconds."""
        return (choose(2 * span) * MS // 2) + (choose(MS) if not choose(4) else 0)

    def intervals(most: int) -> list[tuple[int, int]]:
        return [(start, start + 1 + choose(20 * MS)) for start in (moment() for _ in range(choose(most + 1)))]

    timeline = Timeline(
        crashes=intervals(3),
        slowdowns=[(*interval, (1.0, 1.5, 2.7, 4.0)[choose(4)]) for interval in intervals(3)],
        hangs=intervals(2),
        outages=intervals(2),
    )
    is_joining = not choose(5)
    birth_ns = moment() // 4 if is_joining else -1
    leave_ns = moment() if not choose(3) else 1 << 60
    leave_ns = max(leave_ns, birth_ns + 1)
    messages: list[Message] = []
    requests = small.requests()

    def send(at_ns: int, kind: int, payload: Any, sequence: int) -> None:
        if birth_ns < at_ns < leave_ns and timeline.death_at(at_ns) is None:
            messages.append(Message(instant(at_ns, kind), HUB_SOURCE, sequence, payload))

    for request in requests:
        at_ns = request.arrival_ns
        for attempt in range((1, 1, 1, 2, 3)[choose(5)]):
            resumed = choose(request.output_tokens) if not choose(3) else 0
            send(at_ns, Kind.DELIVERY, Dispatch(request, attempt, resumed), request.request_id)
            if not choose(3):
                late_ns = at_ns + choose(20 * MS)
                send(late_ns, Kind.CANCELLATION, Cancellation(request.request_id, attempt), request.request_id)
            at_ns += choose(8 * MS)
    if is_joining:
        messages.append(Message(instant(birth_ns, Kind.CANCELLATION), HUB_SOURCE, 0, Join(0)))
    if leave_ns < 1 << 60:
        messages.append(Message(instant(leave_ns, Kind.CANCELLATION), HUB_SOURCE, 0, Leave(0)))
    messages.sort(key=lambda message: message[:3])
    observation = Observation(
        responses=True,
        telemetry=bool(choose(2)),
        period_ns=(MS, 5 * MS, MS // 2)[choose(3)],
        latency_ns=(0, MS)[choose(2)],
        sampled_fields=frozenset({"kv_used_ratio"} if choose(2) else ()),
        first_tokens=not choose(3),
    )
    end_ns = moment() + MS if not choose(3) else 10_000 * MS
    run_end = instant(end_ns, Kind.RUN_END) if not choose(3) else NEVER
    study = Drive(small, timeline, tuple(messages), observation, end_ns, is_joining, run_end)
    try:
        study.build(macro_steps=True)
    except (InputError, ValueError):
        return None
    return study


def draw_horizons(choose: Choose, study: Drive) -> list[Instant]:
    """Return random horizons, many of them at instants at which something happens."""
    times = [time_of(message.instant) for message in study.messages] or [0]
    last = max(times) // MS + 60
    horizons = []
    for _ in range(choose(40)):
        at_ns = times[choose(len(times))] if choose(2) else choose(2 * last) * MS // 2
        horizons.append(instant(at_ns, (0, Kind.BATCH_END, Kind.FAULT, Kind.FAULT + 1, 25, 50, 52, 61)[choose(8)]))
    return horizons


def departures(result: dict[str, Any]) -> list[Departure]:
    """Return the departures among what a replica left."""
    return [message.payload for message in result["messages"] if isinstance(message.payload, Departure)]
