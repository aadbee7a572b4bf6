"""Limits of scaling: the bounds of pools and the GPUs that pools share.

What a scaler asks for is granted as far as the limits allow: every pool first keeps what it has (up to what it asks
for) and its minimum; what is left of the budgets goes to the pools that want more, one replica each in turn, in the
order of the pools.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cluster_sim.errors import InputError
from cluster_sim.routing.scaling.scaler_interface import AutoscalerOptions, ScaledPool, clamped
from cluster_sim.shown_values import by_number, counted


@dataclass(frozen=True, slots=True)
class Occupancy:
    """What a pool has when the limits are applied."""

    wanted: int
    """Replicas that serve or start."""
    draining: int = 0
    """Those that still hold their GPUs."""


class ScalingLimits:
    """Applies bounds and budgets."""

    def __init__(self, options: AutoscalerOptions, pools: Sequence[ScaledPool]) -> None:
        self._options = options
        self._pools = tuple(pools)

    def granted(self, desired: Mapping[str, int], occupied: Mapping[str, Occupancy]) -> dict[str, int]:
        """Return the replicas that each pool may have."""
        goals = {pool.name: clamped(desired.get(pool.name, occupied[pool.name].wanted), pool) for pool in self._pools}
        granted = {name: min(goal, occupied[name].wanted) for name, goal in goals.items()}
        used = {
            pool.name: (granted[pool.name] + occupied[pool.name].draining) * pool.gpus_per_replica
            for pool in self._pools
        }
        for floor in (True, False):  # The minimum of every pool comes before what others want above theirs.
            self._fill(goals, granted, used, to_minimum=floor)
        return granted

    def _fill(
        self, goals: Mapping[str, int], granted: dict[str, int], used: dict[str, int], *, to_minimum: bool
    ) -> None:
        has_grown = True
        while has_grown:
            has_grown = False
            for pool in self._pools:
                goal = min(goals[pool.name], pool.min_replicas) if to_minimum else goals[pool.name]
                if granted[pool.name] < goal and self._has_room(pool, used):
                    granted[pool.name] += 1
                    used[pool.name] += pool.gpus_per_replica
                    has_grown = True

    def _has_room(self, pool: ScaledPool, used: Mapping[str, int]) -> bool:
        """Whether the budgets hold one more replica of a pool."""
        total = self._options.gpu_budget
        if total is not None and sum(used.values()) + pool.gpus_per_replica > total:
            return False
        of_device = self._options.device_budgets.get(pool.device)
        if of_device is None:
            return True
        held = sum(used[other.name] for other in self._pools if other.device == pool.device)
        return held + pool.gpus_per_replica <= of_device


def check_limits(options: AutoscalerOptions, pools: Sequence[ScaledPool], known: Sequence[str]) -> None:
    """Raise InputError, which begins with the key, where limits name what is unknown or contradict each other.

    ``known`` lists all pools of the study, ``pools`` those that the scaler acts on.
    """
    for index, name in enumerate(options.pools):
        if name not in known:
            raise InputError(f"autoscaler.pools.{index}: there is no pool {name!r}; known: {', '.join(known)}")
        if name in options.pools[:index]:
            raise InputError(f"autoscaler.pools.{index}: the pool {name!r} is listed twice")
    names = [pool.name for pool in pools]
    for name in options.bounds:
        if name not in names:
            raise InputError(
                f"autoscaler.bounds: {name!r} is not a pool that the scaler acts on; those are {', '.join(names)}"
            )
    devices = list(dict.fromkeys(pool.device for pool in pools))
    for device, budget in options.device_budgets.items():
        if device not in devices:
            raise InputError(
                f"autoscaler.device_budgets: no pool that the scaler acts on runs on {device!r}; "
                f"devices: {', '.join(devices)}"
            )
        least = sum(pool.min_replicas * pool.gpus_per_replica for pool in pools if pool.device == device)
        if budget < least:
            raise InputError(
                f"autoscaler.device_budgets: {counted(budget, 'GPU')} of {device} {by_number(budget, 'is', 'are')} "
                f"fewer than the {least} that the least replicas of the pools take; raise the budget or lower "
                "min_replicas"
            )
    least = sum(pool.min_replicas * pool.gpus_per_replica for pool in pools)
    if options.gpu_budget is not None and options.gpu_budget < least:
        raise InputError(
            f"autoscaler.gpu_budget: {counted(options.gpu_budget, 'GPU')} "
            f"{by_number(options.gpu_budget, 'is', 'are')} fewer than the {least} that the least replicas of the "
            "pools take; raise the budget or lower min_replicas"
        )
