"""The Ray executor on a real local cluster: equal to inline whatever the placement, and clear when something dies."""

import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import ray

from actors.actor_creation import Placement
from actors.connection import ray_cluster
from actors.router_actor import RouterStatus
from actors.supervisor import RunObserver, run_actors
from actors.transport import WaitLimits
from actors.watchdog import Watchdog
from cluster_sim.errors import InputError, UnfinishedError
from cluster_sim.simulation.run import run_study
from cluster_sim.simulation.run_options import RunOptions
from tests.actors.absent_package import LackedKernel, absent_part
from tests.actors.matrix import inline, on_ray, small_study
from tests.engine.phold import Phold
from tests.engine.phold_run import (
    FaultyGroup,
    LateRouter,
    MortalGroup,
    MortalPhold,
    PholdRun,
    PickyGroup,
    SlowGroup,
    phold_reference,
)
from tests.engine.star import split

pytestmark = pytest.mark.ray

LIMITS = WaitLimits(start_s=60, reply_s=30, idle_s=60)


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """One small local cluster for all tests of this module."""
    with ray_cluster(None, num_cpus=2):
        yield


@pytest.mark.parametrize(
    ("policy", "pipeline_parallel", "run"),
    [
        ("round_robin", 1, {"actors": 2}),
        ("least_outstanding", 1, {"replicas_per_actor": 1}),
        ("least_loaded", 1, {"actors": 3, "placement_seed": 5}),
        ("least_loaded", 2, {"actors": 2, "stages": "actors"}),
    ],
)
def test_study_equals_inline(policy: str, pipeline_parallel: int, run: dict[str, Any]) -> None:
    """Rows, counters of every replica and time series are those of the inline executor."""
    study = small_study(policy, pipeline_parallel)
    assert on_ray(study, **run) == inline(study)


def test_phold_equals_the_reference() -> None:
    """PHOLD on two actors handles the same events in the same order as one sequential program; its progress shows."""
    study = Phold(processes=6, balls=12, end_ns=4000, is_sampled=True, period_ns=25, latency_ns=2)
    seen: list[RouterStatus] = []
    result = run_actors(
        PholdRun(study), Placement(split(study.processes, 2), limits=LIMITS), RunObserver(on_status=seen.append)
    )
    processes = sorted(process for group in result.groups for process in group)
    assert (*result.hub, *(digest for _, digest in processes)) == phold_reference(study)
    assert result.wall_s > 0


def test_model_error_is_reported() -> None:
    """An exception inside an actor ends the run with its text, and nothing hangs."""
    study = Phold(processes=4, end_ns=4000)
    with pytest.raises(UnfinishedError, match="RuntimeError: the model broke"):
        run_actors(PholdRun(study, FaultyGroup), Placement(split(4, 2), limits=LIMITS))


def test_wrong_input_stays_wrong_input() -> None:
    """What an actor finds wrong with the input while it is built is still the user's error."""
    with pytest.raises(InputError, match=r"tables\.csv: no such file"):
        run_actors(PholdRun(Phold(), PickyGroup), Placement(split(4, 1), limits=LIMITS))


def test_missing_package_is_named() -> None:
    """A part whose package the actors' node lacks is wrong input that names package and node, not a traceback."""
    study = Phold()
    with absent_part() as part, pytest.raises(InputError, match=r"^node \d+\..* lacks the package 'absent_parts'"):
        run_actors(PholdRun(study, extra=part), Placement(split(4, 2), limits=LIMITS))


def test_missing_kernel_is_named() -> None:
    """An actors' node that lacks the compiled kernel which the study names is named, and does not run in Python."""
    study = Phold()
    with pytest.raises(InputError, match=r"^node \d+\..*: run\.kernel: compiled asks .*, but there is none here"):
        run_actors(PholdRun(study, extra=LackedKernel()), Placement(split(4, 2), limits=LIMITS))


def test_input_found_wrong_while_running_stays_wrong_input() -> None:
    """What the router finds wrong with the input in the middle of a run is the user's error, as it is inline."""
    study = Phold(processes=4, end_ns=4000)
    with pytest.raises(InputError, match=r"^trace\.csv: line 9"):
        run_actors(PholdRun(study, router_class=LateRouter), Placement(split(4, 2), limits=LIMITS))


def test_work_of_every_process_is_known() -> None:
    """Router and groups tell their CPU time, and the router the bytes of its frames and for how long it waited."""
    work = run_actors(PholdRun(Phold(processes=4, balls=8, end_ns=1000)), Placement(split(4, 2), limits=LIMITS)).work
    assert len(work.group_cpu_s) == 2
    assert min(work.router_cpu_s, *work.group_cpu_s, work.waited_s) > 0
    assert min(work.sent_bytes, work.received_bytes) > 1000


def test_no_series_is_lost_in_long_windows() -> None:
    """Series are collected once each and in order, though windows last longer than the time between collections."""
    study = Phold(processes=4, balls=8, end_ns=1000)
    seen: dict[int, list[int]] = {0: [], 1: []}

    def keep(numbers: list[tuple[int, int]]) -> None:
        for group, number in numbers:
            seen[group].append(number)

    with mock.patch.multiple("actors.supervisor", STATUS_S=0.01, DRAIN_S=0.02):
        spec = PholdRun(study, SlowGroup)
        run_actors(spec, Placement(split(4, 2), limits=LIMITS), RunObserver(on_drain=keep))
    assert all(len(numbers) > 32 and numbers == list(range(1, len(numbers) + 1)) for numbers in seen.values())


def test_death_of_an_actor_is_reported(tmp_path: Path) -> None:
    """An actor whose process is killed is named with its replicas and how far the run was."""

    def kill(status: RouterStatus) -> None:
        if status.windows > 3 and not killed.is_set():
            killed.set()
            os.kill(int(victim.read_text(encoding="ascii")), signal.SIGKILL)

    killed = threading.Event()
    victim = tmp_path / "victim"
    study = MortalPhold(processes=4, balls=20, end_ns=100_000_000, victim=str(victim))
    placement = Placement(split(4, 2), limits=LIMITS)
    with pytest.raises(UnfinishedError, match=r"actor 1 \(replicas 1, 3\) died after [\d,]+ windows?"):
        run_actors(PholdRun(study, MortalGroup), placement, RunObserver(on_status=kill))
    assert killed.is_set()


def test_a_stopped_actor_is_named_and_the_run_goes_on(tmp_path: Path) -> None:
    """An actor whose process stands still is named with its node and process; when it moves again, so does the run."""
    victim = tmp_path / "victim"
    windows: list[int] = []
    said: list[str] = []

    class GoesOnError(Exception):
        pass

    def stop(status: RouterStatus) -> None:
        if status.windows > 3 and not windows:
            windows.append(status.windows)
            os.kill(int(victim.read_text(encoding="ascii")), signal.SIGSTOP)
        elif len(windows) == 1 and said:
            windows.append(status.windows)
            os.kill(int(victim.read_text(encoding="ascii")), signal.SIGCONT)
        elif len(windows) == 2 and status.windows > windows[1] + 3:
            raise GoesOnError

    study = MortalPhold(processes=4, balls=20, end_ns=100_000_000, victim=str(victim))
    placement = Placement(split(4, 2), limits=LIMITS)
    with (
        mock.patch("actors.supervisor.Watchdog", lambda *places: Watchdog(*places, report=said.append, warn_s=1.0)),
        pytest.raises(GoesOnError),
    ):
        run_actors(PholdRun(study, MortalGroup), placement, RunObserver(on_status=stop))
    process = victim.read_text(encoding="ascii")
    assert re.fullmatch(
        rf"waiting for group 1 on node \S+ \(process {process}\) for \d+ s, at [\d.]+ s simulated", said[0]
    )


def test_lack_of_room_is_reported() -> None:
    """Actors that find no room in time are counted, with what the cluster has."""

    def occupy() -> None:
        time.sleep(60)

    blocker = ray.remote(num_cpus=2)(occupy).remote()
    while ray.available_resources().get("CPU", 0.0) > 0:
        time.sleep(0.05)
    try:
        limits = WaitLimits(start_s=2)
        with pytest.raises(
            UnfinishedError, match=r"actors (was|were) ready after 2 s; the cluster has 1 node up with 2 CPUs"
        ):
            run_actors(PholdRun(Phold()), Placement(split(4, 2), limits=limits))
    finally:
        ray.cancel(blocker, force=True)


@pytest.mark.parametrize("stages", ["fused", pytest.param("actors", marks=pytest.mark.acceptance)])
def test_recorded_events_are_those_of_one_process(tmp_path: Path, stages: str) -> None:
    """``event_trace.json`` is the same file on actors as inline, with stages as actors too."""
    study = small_study("least_outstanding", 2)
    settings = study.run.model_copy(update={"event_trace": True, "actors": 2, "stages": stages})
    study = study.model_copy(update={"run": settings})
    files = [
        run_study(study, RunOptions(executor=executor, out=tmp_path / executor)).directory / "event_trace.json"
        for executor in ("inline", "ray")
    ]
    assert files[0].stat().st_size > 100_000
    assert files[0].read_bytes() == files[1].read_bytes()
