"""Load as the router counts it: means over the time between two decisions, exact to the nanosecond."""

from collections.abc import Sequence

from cluster_sim.recording.statuses import FINISHED
from cluster_sim.routing.component import HubServices
from cluster_sim.routing.membership import DRAINING
from cluster_sim.routing.request_states import Attempt, TrackedRequest
from cluster_sim.routing.scaling.metrics import PoolMetrics, ReplicaFigures, ScalerMetrics
from cluster_sim.routing.scaling.scaler_interface import ScaledPool


class _Counts:
    """Sums of one pool or model since the last decision."""

    def __init__(self) -> None:
        self.area_ns = 0
        """Requests times the time that they were there."""
        self.arrivals = 0
        self.prompt_tokens = 0
        self.ended = 0
        self.output_tokens = 0
        self.ttft_ns = 0
        self.first_tokens = 0
        self.decode_ns = 0
        self.later_tokens = 0


class LoadObserver:
    """Watches requests between two decisions of a scaler."""

    def __init__(self, pools: Sequence[ScaledPool]) -> None:
        """``pools`` are those of the study, in their order."""
        self._pools = pools
        self._since_ns = 0
        self._forget()

    def add_pool(self, pool: ScaledPool) -> None:
        """Watch a pool that has been added."""
        self._by_pool[pool.name] = _Counts()

    def start(self, hub: HubServices) -> None:
        """Take the hub's services."""
        self._hub = hub
        self._nameless = ""
        if "" in hub.routes:
            default = hub.routes[""]
            self._nameless = next(name for name, route in hub.routes.items() if name and route is default)

    def on_closed(self, attempt: Attempt, now_ns: int) -> None:
        """Note that an attempt has ended, or was given up."""
        self._by_pool[attempt.target.pool].area_ns += now_ns - max(attempt.dispatch_ns, self._since_ns)

    def on_end(self, tracked: TrackedRequest, now_ns: int) -> None:
        """Note that a request has ended."""
        self._note_request(tracked, now_ns)
        row, last = tracked.end, tracked.last
        if last is None or row.status != FINISHED:
            return
        counts = self._by_pool[last.target.pool]
        counts.ended += 1
        counts.output_tokens += row.generated_tokens
        counts.ttft_ns += row.first_token_ns - tracked.request.arrival_ns
        counts.first_tokens += 1
        counts.decode_ns += row.finish_ns - row.first_token_ns
        counts.later_tokens += row.generated_tokens - 1

    def take(self, now_ns: int, samples: Sequence[dict[int, ReplicaFigures]]) -> ScalerMetrics:
        """Return what a scaler reads now, and begin the next interval.

        ``samples`` has the newest sample of each replica, by pool and number.
        """
        for tracked in self._hub.requests.values():
            self._note_request(tracked, now_ns)
            for attempt in tracked.open.values():
                self.on_closed(attempt, now_ns)
        interval_ns = now_ns - self._since_ns
        metrics = {
            pool.name: self._metrics(index, pool, interval_ns, samples[index]) for index, pool in enumerate(self._pools)
        }
        self._since_ns = now_ns
        self._forget()
        return ScalerMetrics(interval_ns, metrics)

    def _metrics(
        self, index: int, pool: ScaledPool, interval_ns: int, samples: dict[int, ReplicaFigures]
    ) -> PoolMetrics:
        own, model = self._by_pool[pool.name], self._by_model[pool.model]
        sent_ns = sum(self._by_pool[other.name].area_ns for other in self._pools if other.model == pool.model)
        present = self._hub.membership.of_pool(index)
        ready = [member.number for member in present if not member.blocked_by]
        draining = sum(DRAINING in member.blocked_by for member in present)
        length_ns = max(interval_ns, 1)
        return PoolMetrics(
            ready=len(ready),
            starting=len(present) - len(ready) - draining,
            draining=draining,
            samples=tuple(samples.get(number, ReplicaFigures()) for number in ready),
            in_flight=own.area_ns / length_ns,
            queued=max(0, model.area_ns - sent_ns) / length_ns,
            arrivals=model.arrivals,
            prompt_tokens=model.prompt_tokens,
            ended=own.ended,
            output_tokens=own.output_tokens,
            ttft_s=own.ttft_ns / own.first_tokens / 1e9 if own.first_tokens else None,
            itl_s=own.decode_ns / own.later_tokens / 1e9 if own.later_tokens else None,
        )

    def _note_request(self, tracked: TrackedRequest, now_ns: int) -> None:
        request = tracked.request
        counts = self._by_model.get(request.attributes.model or self._nameless)
        if counts is None:
            return
        counts.area_ns += now_ns - max(request.arrival_ns, self._since_ns)
        if request.arrival_ns >= self._since_ns:
            counts.arrivals += 1
            counts.prompt_tokens += request.prompt_tokens

    def _forget(self) -> None:
        self._by_pool = {pool.name: _Counts() for pool in self._pools}
        self._by_model = {pool.model: _Counts() for pool in self._pools}
