"""Bounds and GPU budgets, and the cold start of a replica."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cluster_sim.errors import InputError
from cluster_sim.routing.scaling.cold_start import ColdStart
from cluster_sim.routing.scaling.limits import Occupancy, ScalingLimits, check_limits
from cluster_sim.routing.scaling.scaler_interface import SCALERS, ScaledPool
from tests.parts import every_name, example_block
from tests.routing.scaling.drive import build, curve, options_of

SMALL = ScaledPool("small", "a", "l4", gpus_per_replica=1, min_replicas=1, max_replicas=8)
LARGE = ScaledPool("large", "b", "h100", gpus_per_replica=4, min_replicas=1, max_replicas=4)


def options(**block: Any) -> Any:
    return options_of(kind="ray_serve", **block)


def test_a_budget_is_shared_in_turns() -> None:
    """12 GPUs: with 1 + 1 replicas 7 are left; one each in turn: small, large (5 more), small, small: 4 + 8 = 12."""
    limits = ScalingLimits(options(gpu_budget=12), [SMALL, LARGE])
    occupied = {"small": Occupancy(1), "large": Occupancy(1)}
    assert limits.granted({"small": 9, "large": 9}, occupied) == {"small": 4, "large": 2}


def test_minimums_come_before_what_others_want() -> None:
    """Of 8 GPUs, small holds 4 and wants more; large has none and must have one."""
    limits = ScalingLimits(options(gpu_budget=8), [SMALL, LARGE])
    assert limits.granted({"small": 8, "large": 4}, {"small": Occupancy(4), "large": Occupancy(0)}) == {
        "small": 4,
        "large": 1,
    }


def test_draining_replicas_hold_their_gpus() -> None:
    """8 GPUs less one serving and one draining replica of 4 leave nothing for another."""
    limits = ScalingLimits(options(gpu_budget=8), [LARGE])
    assert limits.granted({"large": 2}, {"large": Occupancy(1, draining=1)}) == {"large": 1}
    assert limits.granted({"large": 2}, {"large": Occupancy(1)}) == {"large": 2}


def test_a_budget_of_one_device_leaves_the_others_alone() -> None:
    """4 GPUs of h100 hold one large replica; small ones grow to their maximum."""
    limits = ScalingLimits(options(device_budgets={"h100": 4}), [SMALL, LARGE])
    occupied = {"small": Occupancy(1), "large": Occupancy(1)}
    assert limits.granted({"small": 99, "large": 99}, occupied) == {"small": 8, "large": 1}


@given(
    st.integers(5, 40), st.lists(st.integers(0, 12), min_size=4, max_size=4), st.lists(st.integers(1, 3), max_size=2)
)
def test_grants_keep_every_limit(budget: int, counts: list[int], draining: list[int]) -> None:
    """Nothing granted is above the bounds, above what was asked, or over the budget by anything that is new."""
    limits = ScalingLimits(options(gpu_budget=budget), [SMALL, LARGE])
    held = [*draining, 0, 0]
    occupied = {"small": Occupancy(counts[0], held[0]), "large": Occupancy(min(counts[1], 4), held[1])}
    granted = limits.granted({"small": counts[2], "large": counts[3]}, occupied)
    for pool, wish in ((SMALL, counts[2]), (LARGE, counts[3])):
        assert granted[pool.name] <= min(max(wish, pool.min_replicas), pool.max_replicas)
    grows = any(granted[name] > occupied[name].wanted for name in granted)
    used = granted["small"] + held[0] + 4 * (granted["large"] + held[1])
    assert used <= budget or not grows


def test_a_minimum_above_the_maximum_is_refused_with_its_key() -> None:
    """The message names the keys, for the block and for the bounds of one pool."""
    with pytest.raises(ValidationError, match="min_replicas: 5 is above max_replicas: 3"):
        options(min_replicas=5, max_replicas=3)
    with pytest.raises(ValidationError, match="min_replicas: 5 is above max_replicas: 3"):
        options(bounds={"small": {"min_replicas": 5, "max_replicas": 3}})


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"gpu_budget": 4}, "autoscaler.gpu_budget: 4 GPUs are fewer than the 5"),
        ({"device_budgets": {"h100": 3}}, "autoscaler.device_budgets: 3 GPUs of h100 are fewer than the 4"),
        ({"device_budgets": {"b200": 3}}, "autoscaler.device_budgets: no pool .* runs on 'b200'; devices: l4, h100"),
        ({"pools": ["other"]}, "autoscaler.pools.0: there is no pool 'other'; known: small, large"),
        ({"pools": ["small", "small"]}, "autoscaler.pools.1: the pool 'small' is listed twice"),
        ({"bounds": {"other": {}}}, "autoscaler.bounds: 'other' is not a pool that the scaler acts on"),
    ],
)
def test_limits_that_contradict_are_refused_with_their_key(block: dict[str, Any], message: str) -> None:
    """Budgets below the minimum, and unknown names, are refused."""
    with pytest.raises(InputError, match=message):
        check_limits(options(**block), [SMALL, LARGE], ["small", "large"])


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"kind": "hpa", "metrics": []}, "metrics"),
        ({"kind": "oracle"}, "requests_per_s: give it, or tokens_per_s"),
        ({"kind": "schedule", "entries": [{"at_s": 5, "replicas": 1}, {"at_s": 5, "replicas": 2}]}, "at_s must rise"),
        ({"kind": "schedule", "entries": [{"at_s": 5, "replicas": 1}], "period_s": 5}, "period_s: must be above"),
        ({"kind": "schedule", "entries": [{"at_s": 5, "replicas": -1}]}, "greater than or equal to 0"),
        ({"kind": "ray_serve", "gpu_budget": 0}, "gpu_budget"),
    ],
)
def test_options_that_make_no_sense_are_refused(block: dict[str, Any], message: str) -> None:
    """Each message names its key."""
    with pytest.raises(ValidationError, match=message):
        options_of(**block)


def test_pools_that_a_scaler_cannot_take_are_refused() -> None:
    """A schedule that names another pool, and two pools of one role and model for the planner."""
    schedule = options_of(kind="schedule", entries=[{"at_s": 0, "replicas": {"other": 1}}])
    with pytest.raises(InputError, match=r"autoscaler.entries.0.replicas: 'other' is not a pool"):
        build(schedule, [SMALL])
    planner = options_of(kind="dynamo_planner", **SCALERS.get("dynamo_planner").options.example)
    with pytest.raises(InputError, match=r"autoscaler.pools: the planner takes one pool of role both for each model"):
        build(planner, [SMALL, ScaledPool("twin", "a")])


def test_a_cold_start_is_the_sum_of_its_parts() -> None:
    """120 s node, 10 GB at 0.5 GB/s, 15 s process, 16 GB at 2 GB/s, 40 s graphs, 2 s: 205 s; a restart needs 65 s."""
    cold = ColdStart(node_s=120, image_gb=10)
    parts = {"node": 120, "image": 20, "process": 15, "weights": 8, "compile": 40, "warmup": 2}
    assert cold.parts_s(16_000_000_000) == parts
    assert cold.total_ns(16_000_000_000) == 205_000_000_000
    assert cold.total_ns(16_000_000_000, has_node=True) == 65_000_000_000


@every_name(SCALERS)
def test_every_scaler_decides_later_each_time(name: str) -> None:
    """The next decision of a scaler lies after now, or it never decides again."""
    entry = SCALERS.get(name)
    chosen = options_of(**example_block(SCALERS, name))
    scaler = build(chosen, [SMALL], curve(lambda _: 1.0, 100, 10) if entry.part.knows_load else None)
    assert scaler.first_ns >= 0
    assert all(scaler.next_ns(now) > now or scaler.next_ns(now) == -1 for now in (0, 1, 10**9, 10**12))
