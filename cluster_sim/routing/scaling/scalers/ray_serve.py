"""Ray Serve's replica autoscaler: ongoing requests against a target, with delays before acting.

Source: Ray, modules ray.serve.autoscaling_policy and ray.serve.config.  Handles report ongoing requests every
metrics interval; their mean over the look-back period is held against target x running replicas: error = requests /
(target x replicas), smoothed = 1 + (error - 1) x factor, desired = ceil(replicas x smoothed), and one less where a
factor of the way down would leave it as it is.  The control loop asks every 0.1 s and acts once more than
delay / 0.1 s consecutive answers go in one direction.  The answers change only when metrics do, so they are counted in
bulk, and the scaler asks to be called at the instant at which a delay is over.
"""

from collections import deque
from collections.abc import Sequence
from math import ceil
from typing import Literal

from pydantic import Field

from cluster_sim.options import LONGEST_RUN_S
from cluster_sim.routing.scaling.load_curve import LoadCurve
from cluster_sim.routing.scaling.metrics import ScalerMetrics
from cluster_sim.routing.scaling.scaler_interface import (
    SCALERS,
    AutoscalerOptions,
    ScaledPool,
    Scaler,
    clamped,
    next_multiple,
)
from cluster_sim.units import NS_PER_S


class RayServeOptions(AutoscalerOptions):
    """Ray Serve: ongoing requests over a target, acted on after a delay in one direction."""

    kind: Literal["ray_serve"] = Field("ray_serve", description="Ray Serve's autoscaler.")
    target_ongoing_requests: float = Field(2.0, gt=0, le=1e6, description="Ongoing requests of a replica.")
    metrics_interval_s: float = Field(10.0, gt=0, le=LONGEST_RUN_S, description="Time between two reports.")
    look_back_period_s: float = Field(30.0, gt=0, le=LONGEST_RUN_S, description="Reports that are averaged.")
    upscale_delay_s: float = Field(30.0, ge=0, le=LONGEST_RUN_S, description="Time before the number rises.")
    downscale_delay_s: float = Field(600.0, ge=0, le=LONGEST_RUN_S, description="Time before the number falls.")
    upscaling_factor: float = Field(1.0, gt=0, le=1e3, description="Factor on the excess of requests.")
    downscaling_factor: float = Field(1.0, gt=0, le=1e3, description="Factor on the lack of requests.")
    control_loop_s: float = Field(0.1, ge=0.001, le=LONGEST_RUN_S, description="Time between two decisions.")


class _Loop:
    """The autoscaling state of one deployment."""

    def __init__(self, options: RayServeOptions, pool: ScaledPool) -> None:
        self._options = options
        self._pool = pool
        self._reports: deque[tuple[int, int, float]] = deque()
        """(time, length in ns, mean requests) of the look-back period."""
        self._direction = 0
        self._since_ns = 0
        """The first decision in that direction."""

    def decide(self, metrics: ScalerMetrics, now_ns: int) -> int:
        """Return the replicas that the deployment should have."""
        options, figures = self._options, metrics.pools[self._pool.name]
        self._reports.append((now_ns, metrics.interval_ns, metrics.total(self._pool.name, "in_flight")))
        while self._reports[0][0] <= now_ns - round(options.look_back_period_s * NS_PER_S):
            self._reports.popleft()
        total_ns = sum(length for _, length, _ in self._reports)
        requests = sum(length * value for _, length, value in self._reports) / total_ns if total_ns else 0.0
        current = figures.wanted
        if not figures.ready:
            self._direction = 0
            return max(current, ceil(options.upscaling_factor)) if requests > 0 else current
        desired = clamped(self._desired(requests, figures.ready), self._pool)
        direction = (desired > current) - (desired < current)
        if direction != self._direction:
            self._direction, self._since_ns = direction, now_ns
        if not direction or now_ns < self._due_ns():
            return current
        self._direction = 0
        return desired

    def _desired(self, requests: float, ready: int) -> int:
        options = self._options
        error = requests / (options.target_ongoing_requests * ready)
        factor = options.upscaling_factor if error >= 1 else options.downscaling_factor
        desired = ceil(ready * (1 + (error - 1) * factor))
        return desired - 1 if error < 1 and desired == ready and factor < 1 else desired

    def _due_ns(self) -> int:
        """Return when the delay of the present direction is over."""
        options = self._options
        delay_s = options.upscale_delay_s if self._direction > 0 else options.downscale_delay_s
        # The first decision counts as one; more than delay / loop of them are needed.
        return self._since_ns + int(delay_s / options.control_loop_s) * round(options.control_loop_s * NS_PER_S)

    def due_ns(self, now_ns: int) -> int | None:
        """Return when the loop must be asked outside of reports; None where nothing is pending."""
        return max(self._due_ns(), now_ns + 1) if self._direction else None


@SCALERS.register("ray_serve", RayServeOptions)
class RayServe(Scaler):
    """One deployment for each pool, all with the same options."""

    def __init__(self, options: RayServeOptions, pools: Sequence[ScaledPool], load: LoadCurve | None = None) -> None:
        super().__init__(options, pools, load)
        self._interval_s = options.metrics_interval_s
        self._loops = {pool.name: _Loop(options, pool) for pool in pools}

    def next_ns(self, now_ns: int) -> int:
        """Return the next report, or the end of a delay before it."""
        due = [time_ns for loop in self._loops.values() if (time_ns := loop.due_ns(now_ns)) is not None]
        return min([next_multiple(now_ns, self._interval_s), *due])

    def decide(self, metrics: ScalerMetrics, now_ns: int) -> dict[str, int]:
        """Return what each deployment asks for."""
        return {name: loop.decide(metrics, now_ns) for name, loop in self._loops.items()}
