"""Series of the simulation itself and of its fleet: ``cluster_sim_*``."""

from collections.abc import Iterator, Sequence
from typing import Final

from cluster_sim.metrics.exposition.engine_group import Engine
from cluster_sim.metrics.exposition.family import Family, Labels, Scalars
from cluster_sim.metrics.live import LiveSnapshot
from cluster_sim.metrics.run_metadata import RunMetadata
from cluster_sim.recording.reasons import LOSSES, REASONS
from cluster_sim.recording.statuses import STATUSES
from cluster_sim.units import NS_PER_S

_STATES: Final = ("ready", "starting", "draining", "down", "unhealthy")
"""Fields of ``PoolLive`` that are states of replicas."""
_TRAFFIC: Final = {
    "rounds": "Times that the router sent out windows.",
    "windows": "Windows that the router sent.",
    "sends": "Messages that the router sent.",
    "messages": "Messages that the router got.",
}
_REASONS: Final = tuple((index, reason) for index, reason in enumerate(REASONS) if reason in LOSSES)


class SimulationSeries:
    """The series of a run; sets of labels stay the same objects while the fleet does."""

    def __init__(
        self,
        metadata: RunMetadata,
        engines: Sequence[Engine],
        common: dict[str, str],
        run_labels: dict[str, str],
        *,
        are_replicas: bool,
    ) -> None:
        """``common`` are labels that every series has, ``run_labels`` describe the run."""
        whole = Labels.of(**common)
        self._whole = [whole]
        self._run = [Labels.of(**(common | run_labels))]
        self._states = [whole.plus(state=state) for state in ("arrived", *STATUSES)]
        self._reasons = [whole.plus(reason=reason) for _, reason in _REASONS]
        pools = [whole.plus(pool=pool.name) for pool in metadata.pools]
        self._pools = pools
        self._replica_states = [labels.plus(state=state) for labels in pools for state in _STATES]
        self._scalings = [labels.plus(direction=way) for labels in pools for way in ("up", "down")]
        self._rows = [engine.row for engine in engines]
        self._engines = [
            whole.plus(pool=engine.pool.name, **({"replica": engine.name} if are_replicas else {}))
            for engine in engines
        ]

    def families(self, snapshot: LiveSnapshot) -> Iterator[Family]:
        """Yield the families."""
        yield from self._clock(snapshot)
        yield from self._requests(snapshot)
        yield from self._fleet(snapshot)
        yield from self._engine_work(snapshot)
        for name, value in snapshot.traffic._asdict().items():
            yield self._counter(f"cluster_sim_protocol_{name}_total", _TRAFFIC[name], value)

    def _clock(self, snapshot: LiveSnapshot) -> Iterator[Family]:
        time_s = snapshot.simulated_s
        yield self._gauge("cluster_sim_time_seconds", "Simulated time since the start of the run.", time_s)
        text = "Simulated seconds passed; rates over the rate of this are per simulated second."
        yield Scalars("cluster_sim_simulated_seconds_total", "counter", text, self._whole, [time_s])
        yield self._gauge("cluster_sim_wall_seconds", "Wall time since the start of the run.", snapshot.wall_s)
        text = "Simulated seconds per wall second, lately."
        yield self._gauge("cluster_sim_speedup_ratio", text, snapshot.speedup_ratio)
        if snapshot.completed_ratio is not None:
            yield self._gauge("cluster_sim_run_completed_ratio", "Share of the run done.", snapshot.completed_ratio)
        yield Scalars("cluster_sim_run_info", "gauge", "What is running; always 1.", self._run, [1])

    def _requests(self, snapshot: LiveSnapshot) -> Iterator[Family]:
        requests = snapshot.requests
        statuses = requests.statuses.tolist()
        text = "Requests that have arrived and not ended."
        yield self._gauge("cluster_sim_requests_in_system", text, snapshot.arrived - sum(statuses))
        text = "Requests that wait at the router."
        yield self._gauge("cluster_sim_router_queued_requests", text, snapshot.fleet.queued)
        text = "Requests that have reached a state."
        yield Scalars("cluster_sim_requests_total", "counter", text, self._states, [snapshot.arrived, *statuses])
        text = "Requests that were lost, by why."
        lost = [requests.reasons[index] for index, _ in _REASONS] if requests.reasons else [0] * len(_REASONS)
        yield Scalars("cluster_sim_requests_lost_total", "counter", text, self._reasons, lost)
        text = "Dispatches to replicas of the requests that have ended."
        yield self._counter("cluster_sim_dispatches_total", text, requests.attempts)
        yield self._counter("cluster_sim_retries_total", "Retries of the requests that have ended.", requests.retries)
        text = "Times that a request went on at another replica from where it had come."
        yield self._counter("cluster_sim_migrations_total", text, snapshot.fleet.migrated)
        text = "Bytes of the transfers between replicas that have begun."
        yield self._counter("cluster_sim_transferred_bytes_total", text, snapshot.fleet.moved_bytes)

    def _fleet(self, snapshot: LiveSnapshot) -> Iterator[Family]:
        pools = snapshot.fleet.pools
        values = [getattr(pool, state) for pool in pools for state in _STATES]
        yield Scalars("cluster_sim_replicas", "gauge", "Replicas by state.", self._replica_states, values)
        values = [count for pool in pools for count in (pool.joined, pool.left)]
        text = "Replicas that have joined (up) and left (down) during the run."
        yield Scalars("cluster_sim_scale_events_total", "counter", text, self._scalings, values)

    def _engine_work(self, snapshot: LiveSnapshot) -> Iterator[Family]:
        engines, rows = snapshot.engines, self._rows
        text = "Engine iterations of all replicas."
        yield self._counter("cluster_sim_iterations_total", text, int(engines.figure("iterations")[rows].sum()))
        families = (
            ("cluster_sim_engine_steps_total", "Engine iterations.", "iterations"),
            ("cluster_sim_computed_prompt_tokens_total", "Prompt tokens computed, again included.", "prompt_tokens"),
            ("cluster_sim_crashes_total", "Crashes of replicas.", "crashes"),
        )
        for name, text, figure in families:
            yield Scalars(name, "counter", text, self._engines, engines.figure(figure)[rows].tolist())
        busy = [value / NS_PER_S for value in engines.figure("busy_ns")[rows].tolist()]
        text = "Simulated seconds that pipeline stages have computed."
        yield Scalars("cluster_sim_busy_seconds_total", "counter", text, self._engines, busy)

    def _gauge(self, name: str, text: str, value: float) -> Scalars:
        return Scalars(name, "gauge", text, self._whole, [value])

    def _counter(self, name: str, text: str, value: float) -> Scalars:
        return Scalars(name, "counter", text, self._whole, [value])
