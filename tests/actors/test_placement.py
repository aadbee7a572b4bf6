"""Placement: every replica sits in exactly one actor, and all actors find room."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.placement import cpu_share, place


@given(
    st.integers(1, 60),
    st.integers(1, 16),
    st.sampled_from(["auto", 1, 2, 7]),
    st.none() | st.integers(1, 9),
    st.none() | st.integers(0, 99),
)
def test_every_replica_has_one_actor(
    replicas: int, cpus: int, replicas_per_actor: object, actors: int | None, seed: int | None
) -> None:
    """No replica is lost or doubled, no actor is empty, and sizes differ by at most one."""
    groups = place(replicas, cpus, replicas_per_actor, actors, seed)  # type: ignore[arg-type]
    assert sorted(index for group in groups for index in group) == list(range(replicas))
    assert max(map(len, groups)) - 1 <= min(map(len, groups)) > 0
    assert all(group == sorted(group) for group in groups)


@pytest.mark.parametrize(
    ("arguments", "sizes"),
    [
        ((8, 4), [2, 2, 2, 2]),  # auto: packed beyond the CPUs
        ((3, 4), [1, 1, 1]),  # auto: one each while they fit
        ((8, 4, 1), [1] * 8),
        ((8, 4, 3), [3, 3, 2]),
        ((8, 4, 3, 2), [4, 4]),  # an explicit number of actors wins
        ((2, 4, "auto", 5), [1, 1]),
        ((2, 0.5), [2]),
    ],
)
def test_number_of_actors(arguments: tuple[int, ...], sizes: list[int]) -> None:
    """``auto`` fits the CPUs; numbers are kept; there are never more actors than replicas."""
    assert [len(group) for group in place(*arguments)] == sizes


def test_shuffling_is_repeatable() -> None:
    """The same seed gives the same placement, another one another."""
    assert place(20, 4, seed=1) == place(20, 4, seed=1) != place(20, 4, seed=2)


@pytest.mark.parametrize(
    ("actors", "nodes", "share"),
    [(2, [2], 1.0), (3, [2], 0.5), (5, [2], 0.3333), (3, [1, 1, 1], 1.0), (4, [1, 1, 1], 0.5), (4, [], 0.0)],
)
def test_share_of_a_cpu(actors: int, nodes: list[float], share: float) -> None:
    """Each actor asks for the largest simple share with which all fit, node by node."""
    assert cpu_share(actors, nodes) == share
