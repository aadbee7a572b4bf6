"""Any hub over plain servers, as one sequential program: a heap of events, one token at a time, no protocol.

The hub and its components are the simulator's own; replicas, guarantees, windows and groups are not.  What a study
leaves here must equal what it leaves under the protocol on any placement.
"""

import heapq
from collections.abc import Callable
from itertools import count
from typing import Any

from cluster_sim.engine.instant import KIND_MASK, NEVER, Instant, Kind, instant, time_of
from cluster_sim.engine.process import Join, Message
from cluster_sim.serving.lives.timeline import NO_FAULTS
from cluster_sim.serving.messages import Cancellation, Departure, Dispatch, FirstToken, Leave, Response, Sample
from tests.engine.sequential_fleet import Job, Server
from tests.engine.small_fleet import MS, SmallFleet, prepare


class PlainServer(Server):
    """A server with its lives."""

    timeline = NO_FAULTS
    birth_ns = 0
    left_ns = -1
    life = 0

    def expect_crash(self, from_ns: int) -> int:
        """Return when the next crash at or after ``from_ns`` is."""
        crash = self.timeline.crash_from(from_ns)
        self.crash_ns = NEVER if crash is None else crash.crash_ns
        return self.crash_ns


class HeapFleet:
    """The whole fleet."""

    def __init__(self, small: SmallFleet) -> None:
        run = prepare(small)
        pool = run.plan.pools[0]
        self.run = run
        self.hub = run.hub
        self.run_end = run.plan.run_end
        self.return_ns = round(small.return_ms * MS)
        self.predictor = pool.predictor(run.plan.study)
        self.depth = pool.limits.batches_in_flight
        self.new_server: Callable[[], PlainServer] = lambda: PlainServer(pool.limits, pool.pool.engine, self.predictor)
        self.servers: dict[int, PlainServer] = {}
        self.ties = count()
        self.events: list[tuple[Instant, int, int, int, str, Any]] = []
        self.probed: Instant = -1
        observation = self.hub.observation
        self.grids = [(grid.period_ns, grid.latency_ns) for grid in observation.grids]
        self.grids.insert(0, (observation.period_ns if observation.telemetry else 0, observation.latency_ns))
        self.sample_ns = [0 for _ in self.grids]
        for index in range(run.plan.replicas):
            self.found(index + 1, 0, first_ns=0)

    def found(self, source: int, birth_ns: int, first_ns: int = -1) -> None:
        """A replica begins to exist; it crashes at ``first_ns`` at the earliest, by default just after its birth."""
        server = self.servers[source] = self.new_server()
        server.birth_ns = birth_ns
        timeline_of = self.run.simulation.timeline_of
        if timeline_of is not None:
            server.timeline = timeline_of(source - 1, "", False)
            self.await_crash(source, birth_ns + 1 if first_ns < 0 else first_ns)

    def await_crash(self, source: int, from_ns: int) -> None:
        crash_ns = self.servers[source].expect_crash(from_ns)
        if crash_ns < NEVER:
            self.push(instant(crash_ns, Kind.FAULT), source, 0, "crash")

    def push(self, at: Instant, source: int, sequence: int, what: str, data: Any = None) -> None:
        heapq.heappush(self.events, (at, source, sequence, next(self.ties), what, data))

    def tell(self, at: Instant, source: int, sequence: int, payload: Any) -> None:
        """Let a message reach the hub."""
        self.push(at, source, sequence, "tell", Message(at, source, sequence, payload))

    # ----------------------------------------------------------------------------------------------------------- loop

    def execute(self) -> None:
        """Handle every event below the run's end."""
        while True:
            own = self.hub.next_event()
            at = min(own, self.events[0][0] if self.events else NEVER)
            if at >= self.run_end:
                break
            if self.sample_below(at):
                continue
            if at < own or (self.events and self.events[0][0] == own):
                _, source, sequence, _, what, data = heapq.heappop(self.events)
                getattr(self, "on_" + what)(time_of(at), source, sequence, data)
            elif self.probe(at):
                continue
            else:
                for send in self.hub.handle():
                    self.send(send.receiver, send.message)
        self.hub.settle()
        self.end_ns = self.hub.end_ns if self.run_end == NEVER else time_of(self.run_end)
        for request_id, row in sorted(self.hub.requests._held.items()):
            self.depart_at_end(row.replica + 1, request_id, row.retries)
        for request_id, tracked in sorted(self.hub.requests.items()):
            if tracked.last is not None:
                self.depart_at_end(tracked.last.target.source, request_id, tracked.last.number)
        self.hub.close()

    def depart_at_end(self, source: int, request_id: int, attempt: int) -> None:
        server = self.servers.get(source)
        if server is None:
            return  # The run ended before the start of the replica arrived.
        job = server.jobs.get((request_id, attempt))
        if job is None or job.dropped_ns >= 0:
            return
        if job.cancelled_ns >= 0:
            self.depart(source, job, job.cancelled_ns)
        elif self.run_end < NEVER and (server.left_ns < 0 or job.token_ns + self.return_ns >= self.end_ns):
            self.depart(source, job, self.end_ns)  # What has left tells of answers that the run's end cuts off.

    def depart(self, source: int, job: Job, at_ns: int) -> None:
        """Tell the hub at once how far an attempt had come; nobody waits for it."""
        first_ns = job.first_ns + self.return_ns if 0 <= job.first_ns <= at_ns else -1
        tokens = job.resumed + sum(token_ns <= at_ns for token_ns in job.tokens_ns)
        departure = Departure(*job.key, job.scheduled_ns, first_ns, tokens, 0, job.preemptions)
        self.hub.absorb([Message(instant(at_ns, Kind.SAMPLE), source, job.key[0], departure)])

    def sample_below(self, at: Instant) -> bool:
        """Take the next sample of every grid below ``at``, unless the run is over; return whether there was one."""
        is_sampled = False
        self.hub.settle()
        if not self.hub.requests and not self.hub.events.is_waiting:
            return False
        for grid, (period_ns, latency_ns) in enumerate(self.grids):
            sample_ns = self.sample_ns[grid]
            if not period_ns or instant(sample_ns, Kind.SAMPLE) >= at:
                continue
            self.sample_ns[grid] += period_ns
            is_sampled = True
            for source in self.servers:
                self.tell(instant(sample_ns + latency_ns, Kind.NOTICE), source, sample_ns, self.state(source, grid))
        return is_sampled

    def probe(self, at: Instant) -> bool:
        """Show the state to a decision under perfect telemetry, once; return whether it was shown."""
        if not self.hub.observation.is_instantaneous or at & KIND_MASK < Kind.GLOBAL_SCHEDULE or self.probed == at:
            return False
        self.probed = at
        moment = instant(time_of(at), Kind.SAMPLE)
        self.hub.absorb([Message(moment, source, 0, self.state(source, 0)) for source in self.servers])
        return True

    def state(self, source: int, grid: int) -> Sample:
        server = self.servers[source]
        used_ratio = server.blocks_used / server.limits.kv_blocks
        return Sample(source - 1, len(server.running), len(server.waiting), used_ratio, grid)

    # ------------------------------------------------------------------------------------------------------- messages

    def send(self, receiver: int, message: Message) -> None:
        payload, at = message.payload, message.instant
        if isinstance(payload, Dispatch):
            tokens = payload.prompt_tokens
            delay_ns = self.predictor.frontend_ns + int(self.predictor.frontend_ns_per_token * tokens)
            self.push(at + instant(delay_ns, 0), 0, message.sequence, "deliver", (receiver, payload, delay_ns))
        elif isinstance(payload, Cancellation):
            self.push(at, 0, message.sequence, "cancel", (receiver, payload))
        elif isinstance(payload, Join):
            self.push(at, 0, message.sequence, "join", receiver)
        else:
            assert isinstance(payload, Leave), payload
            self.push(at, 0, message.sequence, "leave", receiver)

    def on_tell(self, _now_ns: int, _source: int, _sequence: int, message: Message) -> None:
        self.hub.absorb([message])

    def on_join(self, now_ns: int, _source: int, _sequence: int, receiver: int) -> None:
        self.found(receiver, now_ns)

    def on_leave(self, now_ns: int, _source: int, _sequence: int, receiver: int) -> None:
        self.servers[receiver].left_ns = now_ns
        self.servers[receiver].timeline = NO_FAULTS
        self.lose(now_ns, receiver)

    def on_crash(self, now_ns: int, source: int, _sequence: int, _data: None) -> None:
        server = self.servers[source]
        if server.crash_ns != now_ns or server.left_ns >= 0:
            return
        crash = server.timeline.crash_from(now_ns)
        assert crash is not None
        self.await_crash(source, crash.restart_ns + 1)
        self.lose(now_ns, source)

    def lose(self, now_ns: int, source: int) -> None:
        server = self.servers[source]
        server.life += 1
        for job in server.lose(now_ns):
            self.depart(source, job, job.cancelled_ns if job.cancelled_ns >= 0 else now_ns)
        for event in [event for event in self.events if event[4] == "deliver" and event[5][0] == source]:
            at, _, _, _, _, (_, dispatch, delay_ns) = event
            delivered_ns = time_of(at) - delay_ns
            if delivered_ns < now_ns:
                self.events.remove(event)
                server.stay_ns += now_ns - delivered_ns
                job = Job(dispatch.request, delivered_ns, dispatch.attempt, dispatch.resumed_tokens)
                self.depart(source, job, now_ns)
        heapq.heapify(self.events)

    def on_deliver(self, now_ns: int, _source: int, _sequence: int, data: tuple[int, Dispatch, int]) -> None:
        receiver, dispatch, delay_ns = data
        server = self.servers[receiver]
        job = Job(dispatch.request, now_ns - delay_ns, dispatch.attempt, dispatch.resumed_tokens)
        server.jobs[job.key] = job
        server.enqueue(job)
        self.schedule(now_ns, receiver)

    def on_cancel(self, now_ns: int, _source: int, _sequence: int, data: tuple[int, Cancellation]) -> None:
        receiver, cancellation = data
        server, key = self.servers[receiver], tuple(cancellation)
        for event in [event for event in self.events if event[4] == "deliver" and event[5][0] == receiver]:
            at, _, _, _, _, (_, dispatch, delay_ns) = event
            if (dispatch.request.request_id, dispatch.attempt) == key:
                self.events.remove(event)  # It is still at the API server.
                heapq.heapify(self.events)
                server.stay_ns += now_ns - (time_of(at) - delay_ns)
                job = Job(dispatch.request, now_ns, dispatch.attempt, dispatch.resumed_tokens)
                self.depart(receiver, job, now_ns)
        if key in server.jobs and server.jobs[key].dropped_ns < 0:
            if server.in_flight and not server.remove_waiting(key, now_ns):
                server.cancels.append((key, now_ns))
            else:
                server.cancel(key, now_ns)
                server.jobs[key].cancelled_ns = now_ns
        self.schedule(now_ns, receiver)

    # ---------------------------------------------------------------------------------------------------------- steps

    def schedule(self, now_ns: int, source: int) -> None:
        server = self.servers[source]
        if server.due_ns != now_ns:
            server.due_ns = now_ns
            self.push(instant(now_ns, Kind.REPLICA_SCHEDULE), source, 0, "form", server.life)

    def on_end(self, now_ns: int, source: int, _sequence: int, life: int) -> None:
        if life == self.servers[source].life:
            self.servers[source].end(now_ns)
            self.schedule(now_ns, source)

    def on_form(self, now_ns: int, source: int, _sequence: int, life: int) -> None:
        server = self.servers[source]
        while len(server.in_flight) < self.depth and life == server.life:
            formed = server.form(now_ns)
            if formed is None:
                if not server.must_form:
                    return
                continue
            end_ns, done = formed
            self.push(instant(end_ns, Kind.BATCH_END), source, server.formed, "end", life)
            back = self.return_ns
            if self.hub.observation.first_tokens:
                for job in server.first:
                    self.tell(instant(end_ns + back, Kind.NOTICE), source, job.key[0], FirstToken(*job.key))
            for job in done:
                times_ns = (job.scheduled_ns, job.first_ns + back, end_ns + back)
                response = Response(*job.key, "finished", *times_ns, 0, job.preemptions)
                self.tell(instant(end_ns + back, Kind.RESPONSE), source, job.key[0], response)
