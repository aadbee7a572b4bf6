"""Disturbed runs: the command on a real cluster, where processes are killed, against the undisturbed run inline."""

import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from random import Random

from cluster_sim.config.loading.load import load_study
from cluster_sim.errors import InputError, UnfinishedError
from cluster_sim.simulation.run import run_study
from cluster_sim.simulation.run_options import RunOptions
from tests.faults.drawn_run import RUN_S, DrawnRun, Kill
from tests.faults.live_watch import LiveWatch
from tests.faults.ray_nodes import RayNodes

FILES = ("requests.parquet", "series.parquet", "counters.parquet", "summary.json", "bench.json")
"""The files of a run that repeat, whatever its placement."""
MOST_S = 400.0
"""Wall time that a run may take with everything that befalls it."""


@dataclass
class Report:
    """What befell a run."""

    killed: list[str] = field(default_factory=list)
    """What was killed, in order."""
    lost_s: list[float] = field(default_factory=list)
    """How long simulated time stood still at most after each kill, until the next one."""
    differences: list[str] = field(default_factory=list)
    """Files that differ from those of the undisturbed run, counters that fell, and drivers that ended wrongly."""
    refusal: str = ""
    """Why the run cannot be made, undisturbed or not."""


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the files of a run that repeat."""
    return {name: (folder / name).read_bytes() for name in FILES}


def disturb(run: DrawnRun, nodes: RayNodes, folder: Path) -> Report:
    """Run undisturbed, then disturbed, and return what befell it."""
    try:
        whole = run_study(load_study(run.study, []), RunOptions(executor="inline", out=folder / "whole"))
    except (InputError, UnfinishedError) as error:
        return Report(refusal=str(error))
    report = Report()
    _Disturbed(run, nodes, folder / "disturbed", whole.summary["simulated_s"] / RUN_S, report).run_to_its_end()
    if not report.differences:
        expected, found = files_of(whole.directory), files_of(folder / "disturbed")
        report.differences += [name for name in FILES if expected[name] != found[name]]
    return report


class _Disturbed:
    """One run, through all lives of its driver."""

    def __init__(self, run: DrawnRun, nodes: RayNodes, out: Path, speedup: float, report: Report) -> None:
        self._run = run
        self._nodes = nodes
        self._out = out
        self._speedup = speedup
        self._report = report
        self._random = Random(run.seed)
        self._killed_s: list[float] = []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._live = LiveWatch(self._port)

    def run_to_its_end(self) -> None:
        """Run, kill what the schedule says, and resume whenever the driver was killed."""
        waiting = list(self._run.kills)
        try:
            for life, actors in enumerate(self._run.actors):
                self._live.begin_life()
                driver = self._start(actors, is_resumed=life > 0 and self._out.with_name("disturbed.partial").exists())
                try:
                    was_killed = self._kill_all(driver, waiting, is_inline=not actors)
                    _, error = driver.communicate(timeout=MOST_S)
                finally:
                    with suppress(ProcessLookupError):
                        driver.kill()
                if not was_killed:
                    if driver.returncode:
                        self._report.differences.append(f"the driver ended with {driver.returncode}: {error[-1500:]}")
                    break
        finally:
            self._live.close()
        self._report.differences += self._live.fallen[:3]
        for since_s, until_s in pairwise([*self._killed_s, float("inf")]):
            self._report.lost_s.append(self._live.stood_still_s(since_s, until_s))

    def _start(self, actors: int, *, is_resumed: bool) -> "subprocess.Popen[str]":
        """Start a driver; without ``actors`` it runs in one process."""
        place = ["--executor", "inline"]
        if actors:
            settings = f"run.actors={actors}", f"run.stages={self._run.stages}"
            place = ["--executor", "ray", "--address", self._nodes.address]
            place += [word for setting in settings for word in ("--set", setting)]
        more = ["--resume"] if is_resumed else []
        arguments = [str(self._run.study), "--out", str(self._out), *place, *more]
        pace = ["--speedup", f"{self._speedup:.6f}", "--metrics-port", str(self._port), "--linger-s", "0"]
        return subprocess.Popen(
            [sys.executable, "-m", "cluster_sim", "run", *arguments, *pace],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )

    def _kill_all(self, driver: "subprocess.Popen[str]", waiting: list[Kill], *, is_inline: bool) -> bool:
        """Kill what is next until the run ends, or the driver was killed, which is told."""
        while waiting and self._moves_on(driver, 0.0):
            kill = waiting[0]
            if is_inline and kill.kind != "driver":
                waiting.pop(0)
                continue
            until_s = time.monotonic() + kill.delay_s
            while driver.poll() is None and time.monotonic() < until_s:
                time.sleep(0.02)
            if driver.poll() is not None:
                return False
            waiting.pop(0)
            clock_s = self._live.clock_s
            if kill.kind == "driver":
                driver.kill()
                self._report.killed.append(kill.kind)
                self._killed_s.append(time.monotonic())
                return True
            if self._nodes.kill(kill.kind, self._random):
                self._report.killed.append(kill.kind)
                self._killed_s.append(time.monotonic())
                self._moves_on(driver, clock_s)
        return False

    def _moves_on(self, driver: "subprocess.Popen[str]", clock_s: float) -> bool:
        """Wait until simulated time is beyond ``clock_s``; False if the run ends."""
        deadline_s = time.monotonic() + MOST_S
        while driver.poll() is None and time.monotonic() < deadline_s:
            if self._live.clock_s > clock_s:
                return True
            time.sleep(0.02)
        return False
