"""Conditions of a sweep: arithmetic and comparisons of its keys, nothing else."""

import pytest

from cluster_sim.errors import InputError
from cluster_sim.study.sweep_conditions import Condition

KEYS = ("fleet.pools.0.replicas", "fleet.pools.0.tensor_parallel", "router.policy", "seed")
VALUES = {"fleet.pools.0.replicas": 4, "fleet.pools.0.tensor_parallel": 2, "router.policy": "random"}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("fleet.pools.0.replicas * fleet.pools.0.tensor_parallel <= 8", True),
        ("fleet.pools.0.replicas * fleet.pools.0.tensor_parallel < 8", False),
        ("1 < fleet.pools.0.tensor_parallel < fleet.pools.0.replicas", True),
        ("router.policy == 'random' and not fleet.pools.0.replicas == 3", True),
        ("router.policy in ('round_robin', \"least_loaded\") or seed == null", True),
        ("(fleet.pools.0.replicas + 2) % 4 == 1 or -fleet.pools.0.replicas // 3 >= -1e0", False),
        ("fleet.pools.0.replicas / 8 == 0.5", True),
    ],
)
def test_conditions(text: str, holds: bool) -> None:
    """Python's meaning of each sign; a key that a run does not vary is null."""
    assert Condition(text, KEYS, "sweep.where.0").holds(VALUES) == holds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fleet.pools.0.replica <= 8", "no key of this sweep.*did you mean.*fleet.pools.0.replicas"),
        ("seed <", "is no condition"),
        ("", "is no condition"),
        ("__import__('os').system('true')", "no key of this sweep"),
        ("(lambda: 1)()", "no key of this sweep"),
        ("seed[0] == 1", "has more than numbers"),
        ("seed ** 9999 > 1", "has more than numbers"),
        ("'a'.upper() == 'A'", "is no condition|has more than"),
    ],
)
def test_what_is_no_condition(text: str, message: str) -> None:
    """The message names the condition and what may stand there."""
    with pytest.raises(InputError, match=f"sweep.where.0: .*({message})"):
        Condition(text, KEYS, "sweep.where.0")


@pytest.mark.parametrize("text", ["router.policy < 3", "seed + 1 > 2", "fleet.pools.0.replicas / 0 > 1", "'a' * 9 > 1"])
def test_what_cannot_be_decided(text: str) -> None:
    """The message gives the values."""
    with pytest.raises(InputError, match="cannot be decided"):
        Condition(text, KEYS, "sweep.where.0").holds(VALUES)
