"""Lives of a run whose actors are lost again and again, without Ray."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest

from actors.actor_creation import LostActorError
from actors.ray_executor import RayExecutor
from actors.run_lives import MOST_IN_A_ROW
from cluster_sim.config.schema.run import Run
from cluster_sim.errors import UnfinishedError
from cluster_sim.simulation.executor import NoCheckpoints, RunOutputs
from cluster_sim.simulation.plan import make_plan
from tests.actors.matrix import small_study


class Kept(NoCheckpoints):
    """Would keep snapshots."""

    is_active = True


@contextmanager
def no_cluster(_address: str | None) -> Iterator[None]:
    """Connect to nothing."""
    yield


def lives(cpus: list[Any], loss: LostActorError) -> tuple[str, list[Any], list[Any]]:
    """Run with actors that are always lost; return the error, the CPUs that were waited for, and the nodes."""
    simulation = make_plan(small_study("round_robin")).simulation()
    offered = mock.Mock(side_effect=cpus)
    removed = mock.Mock()
    with (
        mock.patch("actors.ray_executor.ray_cluster", no_cluster),
        mock.patch("actors.ray_executor.await_cpus", offered),
        mock.patch("actors.ray_executor.await_removal", removed),
        mock.patch("actors.ray_executor.run_actors", side_effect=loss),
        pytest.raises(UnfinishedError) as ended,
    ):
        RayExecutor(Run(actors=2), min_cpus=4).run(simulation, RunOutputs(checkpoints=Kept()))
    return (
        str(ended.value),
        [call.args[0] for call in offered.call_args_list],
        [call.args[0] for call in removed.call_args_list],
    )


def test_a_run_that_is_lost_again_and_again_is_given_up() -> None:
    """After five losses without a snapshot the next one ends it; CPUs are waited for at the start only."""
    text, asked, removed = lives([[4.0]] * 9, LostActorError("actor 1 died", ["node-a"]))
    assert text == f"{MOST_IN_A_ROW + 1} times in a row, without a snapshot since: actor 1 died"
    assert asked == [4, *[None] * MOST_IN_A_ROW]
    assert removed == [["node-a"]] * MOST_IN_A_ROW


def test_a_run_that_finds_no_room_any_more_ends() -> None:
    """When the nodes that are left have no CPU for actors, that is how the run ends."""
    full = UnfinishedError("the cluster's 1 nodes offer no CPU for actors")
    text, asked, _ = lives([[1.0], full], LostActorError("node a died", ["node-a"]))
    assert text == str(full)
    assert asked == [4, None]
