"""A serving fleet as one sequential program: a heap of events, one token at a time, no protocol, no macro-steps.

Written from the published rules (order of kinds, vLLM v1's step, pipeline recurrence) and sharing only the request
sources, the routing policies and the step times with the simulator.  What it leaves must equal what the simulator does.
"""

import heapq
from typing import Any

from cluster_sim.engine.instant import NEVER, Instant, Kind, instant, time_of
from cluster_sim.hardware.batch_shape import BatchShape
from cluster_sim.hardware.predictors.predictor_interface import Predictor
from cluster_sim.recording.statuses import STATUSES
from cluster_sim.serving.messages import Sample
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.workload.request import Request
from tests.engine.small_fleet import MS, Listed, SmallFleet, Users, prepare


class Job:
    """An attempt of a request at a replica."""

    def __init__(self, request: Request, entered_ns: int, attempt: int = 0, resumed: int = 0) -> None:
        self.request = request
        self.key = request.request_id, attempt
        self.resumed = resumed
        """Tokens that an earlier attempt has generated."""
        self.entered_ns = entered_ns
        self.computed = 0
        self.generated = 0
        """Tokens whose computation is formed, those in flight included."""
        self.token_ns = -1
        """When the last of them comes."""
        self.scheduled_ns = self.first_ns = -1
        self.preemptions = 0
        self.tokens_ns: list[int] = []
        """When each token comes."""
        self.cancelled_ns = -1
        """When a cancellation arrived that has been dealt with."""
        self.dropped_ns = -1
        """When the replica died."""
        self.is_prefilling = True
        """Until what is known has been computed once, at first and after every preemption."""

    @property
    def known(self) -> int:
        return self.request.prompt_tokens + self.resumed + self.generated

    @property
    def is_complete(self) -> bool:
        return self.resumed + self.generated == self.request.output_tokens


Key = tuple[int, int]
"""Request id and attempt."""


class Server:
    """One replica: vLLM v1's step over plain lists."""

    def __init__(self, limits: SchedulerLimits, engine: Any, predictor: Predictor) -> None:
        self.limits = limits
        self.engine = engine
        self.predictor = predictor
        self.free = [0] * predictor.stages
        self.waiting: list[Job] = []
        self.running: list[Job] = []
        self.in_flight: list[tuple[int, list[Job]]] = []
        self.must_form = False
        self.due_ns = -1
        """When the next batch is formed, once however many reasons there are."""
        self.first: list[Job] = []
        """Those that get their first token of several by the newest batch."""
        self.cancels: list[tuple[Key, int]] = []
        """Attempts to cancel when the next batch ends, and when that arrived."""
        self.jobs: dict[Key, Job] = {}
        """Everything that was ever here, by request id and attempt."""
        self.crash_ns = NEVER
        """When everything here is lost."""
        self.formed = 0
        self.preemptions = 0
        self.steps: list[tuple[int, int, int]] = []
        """(end, prompt tokens, generated tokens) of each batch."""
        self.work_ns: list[tuple[int, int]] = []
        """(start, end) on some stage."""
        self.stay_ns = 0
        """Summed over the requests that have left: departure less entry."""

    def counts_by(self, end_ns: int) -> tuple[int, ...]:
        """(iterations, prompt tokens, generated tokens, preemptions, work in ns) up to the end of the run."""
        ended = [step for step in self.steps if step[0] <= end_ns]
        work_ns = sum(min(end, end_ns) - start for start, end in self.work_ns if start < end_ns)
        return len(ended), sum(step[1] for step in ended), sum(step[2] for step in ended), self.preemptions, work_ns

    def held(self, job: Job) -> int:
        return -(-job.computed // self.limits.block_size)

    @property
    def blocks_used(self) -> int:
        return sum(map(self.held, self.running))

    def fits(self, job: Job, tokens: int, spare: int = 0) -> bool:
        wanted = -(-tokens // self.limits.block_size) - self.held(job)
        return wanted + spare <= self.limits.kv_blocks - self.blocks_used

    def urgency(self, job: Job) -> tuple[int, int, int]:
        request = job.request
        return request.attributes.priority, request.arrival_ns, request.request_id

    def put_back(self, job: Job) -> None:
        job.computed = 0
        job.is_prefilling = True
        job.preemptions += 1
        self.preemptions += 1
        if self.engine.policy == "priority":
            self.enqueue(job)
        else:
            self.waiting.insert(0, job)

    def enqueue(self, job: Job) -> None:
        self.waiting.append(job)
        if self.engine.policy == "priority":
            self.waiting.sort(key=self.urgency)

    def form(self, now_ns: int) -> tuple[int, list[Job]] | None:
        """One engine step: return the batch's end and the jobs that get their last token then."""
        limits, engine = self.limits, self.engine
        threshold = engine.long_prefill_token_threshold or limits.max_num_batched_tokens
        budget = limits.max_num_batched_tokens
        taken: list[tuple[Job, int]] = []
        is_preempting = False
        for job in list(self.running):
            if job not in self.running or job.is_complete or not budget:
                continue
            if not limits.is_async and job.token_ns > now_ns:
                continue  # Its last token is in the pipeline: it may decode again when that has come out.
            chunk = min(job.known - job.computed, threshold, budget)
            while job in self.running and not self.fits(job, job.computed + chunk):
                victim = max(self.running, key=self.urgency) if engine.policy == "priority" else self.running[-1]
                self.running.remove(victim)
                for entry in [entry for entry in taken if entry[0] is victim]:
                    budget += entry[1]
                    taken.remove(entry)
                if victim.is_complete:
                    continue  # Its last token is on the way; only the memory comes back early.
                is_preempting = True
                self.put_back(victim)
            if job not in self.running:
                break
            taken.append((job, chunk))
            job.computed += chunk
            budget -= chunk
        while self.waiting and not is_preempting and budget and len(self.running) < limits.max_num_seqs:
            job = self.waiting[0]
            if job.token_ns > now_ns:
                break
            chunk = min(job.known, threshold)
            if chunk > budget:
                if not engine.enable_chunked_prefill:
                    break
                chunk = budget
            spare = int(engine.watermark_ratio * limits.kv_blocks) if self.running else 0
            if not self.fits(job, job.known if engine.reserve_full_sequence else chunk, spare):
                break
            self.running.append(self.waiting.pop(0))
            if job.scheduled_ns < 0:
                job.scheduled_ns = now_ns
            taken.append((job, chunk))
            job.computed += chunk
            budget -= chunk
        if not taken:
            self.must_form = is_preempting and not self.in_flight
            return None
        return self.run(now_ns, taken)

    def run(self, now_ns: int, taken: list[tuple[Job, int]]) -> tuple[int, list[Job]]:
        shape = BatchShape()
        emitting = [job for job, _ in taken if job.computed == job.known]
        prompt_tokens = 0
        for job, chunk in taken:
            before = job.computed - chunk
            if job.is_prefilling:
                shape.prefills.append((chunk, before))
                prompt_tokens += chunk
            else:
                shape.decodes += 1
                shape.decode_kv_tokens += before
        for job in emitting:
            job.is_prefilling = False
        shape.completed_prefills = len(emitting) - shape.decodes
        at = now_ns
        for stage in range(self.predictor.stages):
            start = max(at, self.free[stage])
            step = self.predictor.step_ns(shape, stage)
            self.free[stage] = at = start + step
            self.work_ns.append((start, at))
            if stage + 1 < self.predictor.stages:
                at += self.predictor.stage_link_ns(shape.tokens, stage)
        self.formed += 1
        is_lost = at > self.crash_ns
        if not is_lost:
            self.steps.append((at, prompt_tokens, len(emitting)))
        for job in emitting:
            job.generated += 1
            job.token_ns = at
            job.tokens_ns.append(at)
            if job.first_ns < 0:
                job.first_ns = at
        done = [job for job in emitting if job.is_complete]
        self.first = [job for job in emitting if job.generated == 1 and not job.is_complete and not is_lost]
        self.in_flight.append((at, done))
        return at, [] if is_lost else done

    def end(self, now_ns: int) -> None:
        """The oldest batch ends: its finished jobs give up slot and memory, cancellations take effect."""
        end_ns, done = self.in_flight.pop(0)
        assert end_ns == now_ns
        self.running = [job for job in self.running if job not in done]
        self.stay_ns += sum(now_ns - job.entered_ns for job in done)
        for key, arrived_ns in self.cancels:
            self.cancel(key, now_ns)
            self.jobs[key].cancelled_ns = arrived_ns
        self.cancels = []

    def lose(self, now_ns: int) -> list[Job]:
        """Everything here is lost, work under way included; return it."""
        ended = {id(job) for end_ns, done in self.in_flight if end_ns > now_ns for job in done}
        lost = {id(job): job for job in [*self.waiting, *self.running]}
        lost |= {id(job): job for _, done in self.in_flight for job in done if id(job) in ended}
        for key, arrived_ns in self.cancels:
            self.jobs[key].cancelled_ns = arrived_ns
        for job in lost.values():
            job.dropped_ns = now_ns
            self.stay_ns += now_ns - job.entered_ns
        self.steps = [step for step in self.steps if step[0] <= now_ns]
        self.work_ns = [(start, min(end, now_ns)) for start, end in self.work_ns if start < now_ns]
        self.free = [0] * len(self.free)
        self.waiting, self.running, self.in_flight, self.cancels = [], [], [], []
        self.must_form = False
        self.due_ns = -1
        return list(lost.values())

    def remove_waiting(self, key: Key, now_ns: int) -> bool:
        return self.drop(self.waiting, key, now_ns)

    def cancel(self, key: Key, now_ns: int) -> None:
        self.remove_waiting(key, now_ns)
        self.drop(self.running, key, now_ns)

    def drop(self, jobs: list[Job], key: Key, now_ns: int) -> bool:
        found = [job for job in jobs if job.key == key and not job.is_complete]
        for job in found:
            jobs.remove(job)
            self.stay_ns += now_ns - job.entered_ns
        return bool(found)


Row = tuple[int, ...]
"""(request id, replica, status code, arrival, dispatch, scheduled, first token, finish, preemptions, tokens)"""
ROW = ("request_id", "replica", "status", "arrival_ns", "dispatch_ns", "scheduled_ns", "first_token_ns", "finish_ns")
ROW += ("preemptions", "generated_tokens")


class SequentialFleet:
    """The whole fleet."""

    def __init__(self, small: SmallFleet) -> None:
        plan = prepare(small).plan
        run = prepare(small)
        pool = plan.pools[0]
        self.small = small
        self.run_end = plan.run_end
        self.forward_ns, self.return_ns = plan.pools[0].delays
        self.policy = run.hub.routes[""].policy
        self.predictor = pool.predictor(plan.study)
        self.servers = [Server(pool.limits, pool.pool.engine, self.predictor) for _ in range(plan.replicas)]
        self.depth = pool.limits.batches_in_flight
        self.rows: list[Row] = []
        self.events: list[tuple[Instant, int, int, str, Any]] = []
        self.in_flight: dict[int, tuple[Request, int, int]] = {}
        self.given_up: list[tuple[Request, int, int, int]] = []
        """(request, replica, dispatch, end) of those whose clients gave up."""
        self.users = Users(small.users, round(small.think_ms * MS)) if small.users else None
        self.timeout_ns = round(small.timeout_ms * MS)
        source = self.users.initial() if self.users else Listed(small.requests()).chunks()
        for chunk in source:
            for request in chunk:
                self.arrive(request)

    def push(self, time_ns: int, kind: int, source: int, sequence: int, what: str, data: Any = None) -> None:
        heapq.heappush(self.events, (instant(time_ns, kind), source, sequence, what, data))

    def arrive(self, request: Request) -> None:
        self.push(request.arrival_ns, Kind.GLOBAL_SCHEDULE, 0, request.request_id, "arrive", request)

    def run(self) -> None:
        """Handle every event below the run's end; telemetry is looked at when time passes its instants."""
        period = round(self.small.period_ms * MS) if self.policy.observation.telemetry else 0
        latency = round(self.small.latency_ms * MS)
        sample_ns = 0
        while self.events and self.events[0][0] < self.run_end:
            at = self.events[0][0]
            if period and instant(sample_ns, Kind.SAMPLE) < at:
                for replica, server in enumerate(self.servers):
                    sample = Sample(replica, len(server.running), len(server.waiting), 0.0)
                    self.push(sample_ns + latency, Kind.NOTICE, replica + 1, sample_ns, "notice", sample)
                sample_ns += period
                continue
            _, source, sequence, what, data = heapq.heappop(self.events)
            getattr(self, "on_" + what)(time_of(at), source, sequence, data)
            if not any(event[3] != "notice" for event in self.events):
                break
        ends_ns = [row[7] for row in self.rows] + [end_ns for *_, end_ns in self.given_up]
        self.end_ns = max(ends_ns, default=0) if self.small.end_ms is None else time_of(self.run_end)
        for request, replica, dispatch_ns in self.in_flight.values():
            self.note(request, replica, "unfinished", dispatch_ns, *self.progress(request, replica, self.end_ns - 1))
        for request, replica, dispatch_ns, end_ns in self.given_up:
            scheduled_ns, first_ns, _, *rest = self.progress(request, replica, end_ns)
            self.note(request, replica, "cancelled", dispatch_ns, scheduled_ns, first_ns, end_ns, *rest)

    def progress(self, request: Request, replica: int, last_ns: int) -> tuple[int, ...]:
        """What happened to a request without a response up to ``last_ns`` at the router."""
        job = self.servers[replica].jobs.get((request.request_id, 0))
        if job is None or not 0 <= job.scheduled_ns <= last_ns:
            return -1, -1, -1, 0, 0
        until_ns = job.cancelled_ns if job.cancelled_ns >= 0 else self.end_ns
        first_ns = job.first_ns + self.return_ns if 0 <= job.first_ns <= last_ns - self.return_ns else -1
        tokens = sum(token_ns <= until_ns for token_ns in job.tokens_ns)
        return job.scheduled_ns, first_ns, -1, job.preemptions, tokens

    def note(self, request: Request, replica: int, status: str, dispatch_ns: int, *rest: int) -> None:
        self.rows.append((request.request_id, replica, STATUSES.index(status), request.arrival_ns, dispatch_ns, *rest))

    def on_arrive(self, now_ns: int, _source: int, request_id: int, request: Request) -> None:
        if self.policy.observation.is_instantaneous:
            for replica, server in enumerate(self.servers):
                self.policy.on_sample(replica, Sample(replica, len(server.running), len(server.waiting), 0.0))
        replica = self.policy.choose(request, now_ns, None)
        self.in_flight[request_id] = request, replica, now_ns
        if self.timeout_ns:
            self.push(request.arrival_ns + self.timeout_ns, Kind.TIMER, 0, request_id, "time_out")
        delay = self.predictor.frontend_ns + int(self.predictor.frontend_ns_per_token * request.prompt_tokens)
        self.push(now_ns + self.forward_ns + delay, Kind.DELIVERY, 0, request_id, "deliver", (replica, request, delay))

    def on_time_out(self, now_ns: int, _source: int, request_id: int, _data: None) -> None:
        if request_id not in self.in_flight:
            return
        request, replica, dispatch_ns = self.in_flight.pop(request_id)
        self.policy.on_end(replica, request)
        self.given_up.append((request, replica, dispatch_ns, now_ns))
        self.react(request, now_ns, "cancelled")
        self.push(now_ns + self.forward_ns, Kind.CANCELLATION, 0, request_id, "cancel", replica)

    def on_notice(self, _now_ns: int, source: int, _sequence: int, sample: Sample) -> None:
        self.policy.on_sample(source - 1, sample)

    def on_first_token(self, _now_ns: int, _source: int, request_id: int, _data: None) -> None:
        if request_id in self.in_flight:
            request, replica, _ = self.in_flight[request_id]
            self.policy.on_first_token(replica, request)

    def on_respond(self, now_ns: int, _source: int, request_id: int, times: tuple[int, ...]) -> None:
        if request_id not in self.in_flight:
            return
        request, replica, dispatch_ns = self.in_flight.pop(request_id)
        self.policy.on_end(replica, request)
        self.note(request, replica, "finished", dispatch_ns, *times, request.output_tokens)
        self.react(request, now_ns, "finished")

    def react(self, request: Request, now_ns: int, status: str) -> None:
        for caused in self.users.on_end(request, now_ns, status) if self.users else ():
            self.arrive(caused)

    def on_deliver(self, now_ns: int, _source: int, _sequence: int, data: tuple[int, Request, int]) -> None:
        replica, request, delay_ns = data
        job = self.servers[replica].jobs[request.request_id, 0] = Job(request, now_ns - delay_ns)
        self.servers[replica].enqueue(job)
        self.schedule(now_ns, replica)

    def on_cancel(self, now_ns: int, _source: int, request_id: int, replica: int) -> None:
        server = self.servers[replica]
        for event in [event for event in self.events if event[2:4] == (request_id, "deliver")]:
            self.events.remove(event)  # It is still at the API server.
            heapq.heapify(self.events)
            server.stay_ns += now_ns - (time_of(event[0]) - event[4][2])
        key = request_id, 0
        if key in server.jobs:
            if server.in_flight and not server.remove_waiting(key, now_ns):
                server.cancels.append((key, now_ns))
            else:
                server.cancel(key, now_ns)
                server.jobs[key].cancelled_ns = now_ns
        self.schedule(now_ns, replica)

    def on_end(self, now_ns: int, source: int, _sequence: int, _data: None) -> None:
        self.servers[source - 1].end(now_ns)
        self.schedule(now_ns, source - 1)

    def schedule(self, now_ns: int, replica: int) -> None:
        if self.servers[replica].due_ns == now_ns:
            return
        self.servers[replica].due_ns = now_ns
        self.push(now_ns, Kind.REPLICA_SCHEDULE, replica + 1, 0, "form")

    def on_form(self, now_ns: int, source: int, _sequence: int, _data: None) -> None:
        server = self.servers[source - 1]
        while len(server.in_flight) < self.depth:
            formed = server.form(now_ns)
            if formed is None:
                if not server.must_form:
                    return
                continue
            end_ns, done = formed
            self.push(end_ns, Kind.BATCH_END, source, server.formed, "end")
            if self.policy.observes_first_tokens:
                for job in server.first:
                    first_ns = end_ns + self.return_ns
                    self.push(first_ns, Kind.NOTICE, source, job.request.request_id, "first_token")
            for job in done:
                back = self.return_ns
                times = (job.scheduled_ns, job.first_ns + back, end_ns + back, job.preemptions)
                self.push(end_ns + back, Kind.RESPONSE, source, job.request.request_id, "respond", times)
