"""Knative's pod autoscaler (KPA): concurrency over a stable and a panic window.

Source: Knative Serving, pkg/autoscaler/scaling/autoscaler.go and config-autoscaler.  Every tick: desired =
ceil(mean concurrency of the window / (target x utilisation)), at most up-rate x ready pods, at least ready pods /
down-rate.  If the panic window alone asks for ``panic_threshold_ratio`` x the ready pods the scaler panics: it follows
the larger of both and never down, until a whole stable window has passed without such a demand.  0 is reached only
after the grace period.  Concurrency is what the router has in flight and in its queue (Knative's activator), as the
mean between two ticks, where real pods report once a second.
"""

from collections import deque
from collections.abc import Sequence
from math import ceil, floor
from typing import Literal

from pydantic import Field

from cluster_sim.options import LONGEST_RUN_S
from cluster_sim.routing.scaling.load_curve import LoadCurve
from cluster_sim.routing.scaling.metrics import ScalerMetrics
from cluster_sim.routing.scaling.scaler_interface import SCALERS, AutoscalerOptions, ScaledPool, Scaler, next_multiple
from cluster_sim.units import NS_PER_S


class KnativeOptions(AutoscalerOptions):
    """Knative's autoscaler: mean concurrency of a stable window, and panic on a short one."""

    kind: Literal["knative"] = Field("knative", description="Knative's pod autoscaler.")
    target: float = Field(100.0, gt=0, le=1e6, description="Concurrent requests of a replica.")
    utilization_ratio: float = Field(0.7, gt=0, le=1, description="Share of the target that is aimed at.")
    stable_window_s: float = Field(60.0, gt=0, le=LONGEST_RUN_S, description="Window of a calm scaler.")
    panic_window_s: float = Field(6.0, gt=0, le=LONGEST_RUN_S, description="Window that shows a burst.")
    panic_threshold_ratio: float = Field(
        2.0,
        ge=1,
        le=1e6,
        description="Demand of the panic window over the ready replicas from which the scaler panics.",
    )
    max_up_ratio: float = Field(1000.0, gt=1, le=1e6, description="Most growth in one tick.")
    max_down_ratio: float = Field(2.0, gt=1, le=1e6, description="Most shrinkage in one tick.")
    tick_s: float = Field(2.0, gt=0, le=LONGEST_RUN_S, description="Time between two decisions.")
    zero_grace_s: float = Field(
        30.0, ge=0, le=LONGEST_RUN_S, description="Time that a demand of zero must last before the last replica goes."
    )


class _Loop:
    """The autoscaler of one pool."""

    def __init__(self, options: KnativeOptions, pool: ScaledPool) -> None:
        self._options = options
        self._pool = pool
        self._history: deque[tuple[int, int, float]] = deque()
        """(time, length in ns, mean concurrency) of each interval in the stable window."""
        self._panic_ns = -1
        """When the demand was last over the threshold; negative while calm."""
        self._most_in_panic = 0
        self._zero_since_ns = -1

    def decide(self, metrics: ScalerMetrics, now_ns: int) -> int:
        """Return the replicas that the pool should have."""
        options = self._options
        concurrency = metrics.total(self._pool.name, "in_flight")
        stable_ns = round(options.stable_window_s * NS_PER_S)
        self._history.append((now_ns, metrics.interval_ns, concurrency))
        while self._history[0][0] <= now_ns - stable_ns:
            self._history.popleft()
        ready = max(1, metrics.pools[self._pool.name].ready)
        per_replica = options.target * options.utilization_ratio
        most, least = ceil(options.max_up_ratio * ready), floor(ready / options.max_down_ratio)
        stable = ceil(self._mean(now_ns, stable_ns) / per_replica)
        panic = ceil(self._mean(now_ns, round(options.panic_window_s * NS_PER_S)) / per_replica)
        is_over = panic / ready >= options.panic_threshold_ratio
        desired = min(max(stable, least), most)
        if is_over:
            self._panic_ns = now_ns
        elif 0 <= self._panic_ns < now_ns - stable_ns:
            self._panic_ns, self._most_in_panic = -1, 0
        if self._panic_ns >= 0:
            self._most_in_panic = max(self._most_in_panic, desired, min(max(panic, least), most))
            desired = self._most_in_panic
        return self._zero_delayed(desired, metrics.pools[self._pool.name].wanted, now_ns)

    def _mean(self, now_ns: int, window_ns: int) -> float:
        inside = [(length, value) for time_ns, length, value in self._history if time_ns > now_ns - window_ns]
        total_ns = sum(length for length, _ in inside)
        return sum(length * value for length, value in inside) / total_ns if total_ns else 0.0

    def _zero_delayed(self, desired: int, current: int, now_ns: int) -> int:
        if desired or not current:
            self._zero_since_ns = -1
            return desired
        if self._zero_since_ns < 0:
            self._zero_since_ns = now_ns
        return 0 if now_ns - self._zero_since_ns >= self._options.zero_grace_s * NS_PER_S else 1


@SCALERS.register("knative", KnativeOptions)
class Knative(Scaler):
    """One autoscaler for each pool, all with the same options."""

    def __init__(self, options: KnativeOptions, pools: Sequence[ScaledPool], load: LoadCurve | None = None) -> None:
        super().__init__(options, pools, load)
        self._tick_s = options.tick_s
        self._loops = {pool.name: _Loop(options, pool) for pool in pools}

    def next_ns(self, now_ns: int) -> int:
        """Return the next tick."""
        return next_multiple(now_ns, self._tick_s)

    def decide(self, metrics: ScalerMetrics, now_ns: int) -> dict[str, int]:
        """Return what each pool's autoscaler asks for."""
        return {name: loop.decide(metrics, now_ns) for name, loop in self._loops.items()}
