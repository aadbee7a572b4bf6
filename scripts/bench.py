"""Measure the speed of the simulation: every case in a process of its own, warm, with the default outputs on.

``python scripts/bench.py`` prints one line a case and the time per request by phase; ``--json`` prints everything as
JSON; ``--case NAME`` (repeatable) selects cases, ``--list`` names them; ``--trace FILE`` gives the Azure conversation
trace of 2023 (CSV, compressed or not).  Without it a synthetic load with the trace's mean figures stands in, and the
report says so.  ``--against REV`` runs each case with the package of another commit too, in turns, and reports the
ratio; ``--kernel both`` does the same with the compiled step loop and the sources.  Cases that end in ``-x4`` are four
times as large as those of the same name: their cost per request should be the same.

CPU seconds are those of the measuring process, of the whole run and in its loop: on a shared machine they say more
than the wall.  The speed of this
machine at this moment is reported as the time of a plain loop of 10 million additions and as ``scripts/bare_loop.py``,
the smallest loop that computes such replicas' times.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from bench_cases import CASES, LARGER

SCRIPTS = Path(__file__).resolve().parent
ROOT = SCRIPTS.parent
TRACE = SCRIPTS.parent.parent / "shared" / "traces" / "azure_llm_2023_conv.csv.gz"

PAIRS = (
    ("trace-inline-least-outstanding", "trace-inline"),
    ("trace-inline-prefix-caching", "trace-inline"),
    ("trace-inline-pp-2", "trace-inline"),
    ("trace-inline-pp-4", "trace-inline"),
)
"""Cases whose ratio says what one feature costs."""


def study_of(name: str, trace: Path | None, kernel: str) -> Any:
    """Return the study of a case, with replicas made of ``kernel``."""
    from cluster_sim.config.schema.study import Study
    from cluster_sim.options import BASE_DIRECTORY

    study = Study.model_validate(CASES[name].document(trace), context={BASE_DIRECTORY: Path.cwd()})
    if not hasattr(study.run, "kernel"):  # Another commit, from before there were two.
        return study
    return study.model_copy(update={"run": study.run.model_copy(update={"kernel": kernel})})


class PhaseClock:
    """Wall time by phase: a phase inside another one is taken out of it."""

    def __init__(self) -> None:
        self.spent_s: dict[str, float] = {}
        self._stack: list[str] = []
        self._since = 0.0

    def _switch(self) -> None:
        now = time.perf_counter()
        if self._stack:
            self.spent_s[self._stack[-1]] = self.spent_s.get(self._stack[-1], 0.0) + now - self._since
        self._since = now

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the time inside as ``name``."""
        self._switch()
        self._stack.append(name)
        try:
            yield
        finally:
            self._switch()
            self._stack.pop()

    def wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``function`` timed as ``name``."""

        def timed(*arguments: Any, **named: Any) -> Any:
            with self.phase(name):
                return function(*arguments, **named)

        return timed

    def iterate(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a generator function whose production of each item is timed as ``name``."""

        def timed(*arguments: Any, **named: Any) -> Iterator[Any]:
            items = function(*arguments, **named)
            while True:
                with self.phase(name):
                    item = next(items, None)
                if item is None:
                    return
                yield item

        return timed


def phases_of(study: Any, directory: Path) -> dict[str, float]:
    """Run a study inline with clocks at the seams of its phases; return seconds by phase."""
    from cluster_sim.engine.coordinator import Coordinator
    from cluster_sim.engine.group import Group
    from cluster_sim.output.series_table import SeriesTable
    from cluster_sim.recording.request_log import RequestLog
    from cluster_sim.routing.hub import RouterHub
    from cluster_sim.workload.request_stream import RequestStream

    clock = PhaseClock()
    seams = [
        (RequestStream, "chunks", clock.iterate("workload", RequestStream.chunks)),
        (Coordinator, "run_hub", clock.wrap("hub", Coordinator.run_hub)),
        (RouterHub, "settle", clock.wrap("hub", RouterHub.settle)),
        (Coordinator, "calls", clock.wrap("protocol", Coordinator.calls)),
        (Coordinator, "absorb", clock.wrap("protocol", Coordinator.absorb)),
        (Group, "step", clock.wrap("replica", Group.step)),
        (RequestLog, "flush", clock.wrap("recording", RequestLog.flush)),
        (SeriesTable, "add", clock.wrap("recording", SeriesTable.add)),
    ]
    for owner, name, timed in seams:
        patch = mock.patch.object(owner, name, timed)
        patch.start()
    try:
        with clock.phase("rest"):
            run_once(study, "inline", directory)
    finally:
        mock.patch.stopall()
    return clock.spent_s


def run_once(study: Any, executor: Any, directory: Path) -> dict[str, Any]:
    """Run a study and return the contents of its directory, and the CPU seconds of this process: of the whole run, and
    of its loop where that is in this process.
    """
    from cluster_sim.simulation import inline
    from cluster_sim.simulation.run import run_study
    from cluster_sim.simulation.run_options import RunOptions

    loop_s = 0.0
    run_loop = inline.run_loop

    def timed(*arguments: Any) -> None:
        nonlocal loop_s
        began_s = time.process_time()
        run_loop(*arguments)
        loop_s += time.process_time() - began_s

    started_s = time.process_time()
    with mock.patch.object(inline, "run_loop", timed):
        result = run_study(study, RunOptions(executor=executor, out=directory / f"run-{time.perf_counter_ns()}"))
    cpu_s = time.process_time() - started_s
    manifest = json.loads((result.directory / "manifest.json").read_text())
    return {"manifest": manifest, "summary": result.summary, "digest": result.digest, "cpu_s": cpu_s, "loop_s": loop_s}


def run_case(name: str, trace: Path | None, repeats: int, kernel: str) -> dict[str, Any]:
    """Measure one case in this process."""
    from cluster_sim.simulation.executor_choice import choose_executor
    from cluster_sim.simulation.plan import make_plan

    executor = CASES[name].executor
    study = study_of(name, trace, kernel)
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        runs = [run_once(study, executor, directory) for _ in range(1 + repeats)]
        walls_s = [run["manifest"]["wall_s"] for run in runs[1:]]
        peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        requests = runs[0]["summary"]["requests"]["total"]
        iterations = runs[0]["summary"]["iterations"]
        best_s = min(walls_s)
        figures = {
            "case": name,
            "requests": requests,
            "wall_s": best_s,
            "walls_s": walls_s,
            "cpu_s": min(run["cpu_s"] for run in runs[1:]),
            "loop_cpu_us": min(run["loop_s"] for run in runs[1:]) / requests * 1e6,
            "requests_per_s": requests / best_s,
            "iterations_per_s": iterations / best_s,
            "us_per_request": best_s / requests * 1e6,
            "peak_mib": peak_mib,
            "traffic": runs[0]["manifest"]["traffic"],
            "digest": runs[0]["digest"],
            "coupling": choose_executor(make_plan(study).simulation()).reason,
            "additions_s": additions_s(),
        }
        if executor == "inline":
            spent_s = phases_of(study, directory)
            figures["us_per_request_by_phase"] = {name: seconds / requests * 1e6 for name, seconds in spent_s.items()}
    return figures


def additions_s() -> float:
    """Return how long a plain loop of 10 million additions takes here and now."""
    started = time.perf_counter()
    total = 0
    for number in range(10_000_000):
        total += number
    return time.perf_counter() - started


def report(results: list[dict[str, Any]], bare: dict[str, float] | None) -> None:
    """Print the figures, a line a case."""
    heads = ("requests/s", "iterations/s", "us/request", "CPU us", "in loop", "bare loops", "peak MiB", "loop s")
    print(f"{'case':40}" + "".join(f"{head:>13}" for head in heads))
    for result in results:
        ratio = f"{result['us_per_request'] / bare['us_per_request']:.1f}" if bare is not None else "-"
        print(
            f"{result['case']:40}{result['requests_per_s']:13,.0f}{result['iterations_per_s']:13,.0f}"
            f"{result['us_per_request']:13.1f}{result['cpu_s'] / result['requests'] * 1e6:13.1f}"
            f"{result['loop_cpu_us']:13.1f}{ratio:>13}"
            f"{result['peak_mib']:13.0f}{result['additions_s']:13.2f}"
        )
        for phase, spent in result.get("us_per_request_by_phase", {}).items():
            print(f"    {phase:12}{spent:8.1f} us/request")
    by_name = {result["case"]: result for result in results}
    if bare is not None:
        figures = (bare[name] for name in ("requests_per_s", "iterations_per_s", "us_per_request"))
        print(f"{'bare loop':40}" + "".join(f"{figure:13,.0f}" for figure in figures))
        if "trace-inline" in by_name:
            times = by_name["trace-inline"]["us_per_request"] / bare["us_per_request"]
            print(f"trace-inline: {times:.1f} times the bare loop")
    for name in by_name:
        if name + LARGER in by_name:
            growth = by_name[name + LARGER]["loop_cpu_us"] / by_name[name]["loop_cpu_us"]
            print(f"{name}: {growth:.2f} times the cost per request at four times the size")
    for slow, fast in PAIRS:
        if slow in by_name and fast in by_name:
            ratio = by_name[slow]["loop_cpu_us"] / by_name[fast]["loop_cpu_us"]
            print(f"{slow}: {ratio:.2f} times {fast}")
    for slow, fast in (
        ("fleet-ray-2-actors", "fleet-inline"),
        ("fleet-blind-ray-2-actors", "fleet-blind-inline"),
        ("fleet-counts-ray-2-actors", "fleet-counts-inline"),
        ("trace-x10-ray", "trace-x10-inline"),
        ("trace-x10-ray-telemetry", "trace-x10-inline-telemetry"),
    ):
        if slow in by_name and fast in by_name:
            same = by_name[slow]["digest"] == by_name[fast]["digest"]
            ratio = by_name[slow]["wall_s"] / by_name[fast]["wall_s"]
            print(f"{slow}: {ratio:.2f} times the wall time of inline, digest {'equal' if same else 'DIFFERENT'}")
            print(f"    {by_name[slow]['coupling']}")


def measure(name: str, root: Path, trace: Path | None, repeats: int, kernel: str) -> dict[str, Any]:
    """Measure a case in a process of its own with the package under ``root``."""
    command = [sys.executable, __file__, "--here", "--case", name, "--repeats", str(repeats), "--kernel", kernel]
    command += ["--trace", str(trace)] if trace else []
    environment = os.environ | {"PYTHONPATH": str(root)}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


@contextmanager
def checkout(revision: str) -> Iterator[Path]:
    """Check a commit out beside this checkout for a while."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "other"
        git = ["git", "-C", str(ROOT), "worktree"]
        added = subprocess.run(
            [*git, "add", "--quiet", "--detach", str(root), revision], stderr=subprocess.PIPE, text=True, check=False
        )
        if added.returncode:
            sys.exit(f"bench: --against {revision}: git says: {added.stderr.strip()}")
        try:
            yield root
        finally:
            subprocess.run([*git, "remove", "--force", str(root)], check=True)


def compare(names: list[str], sides: dict[str, Callable[[str], dict[str, Any]]], turns: int) -> None:
    """Run every case by two sides in turns; print medians of the CPU time a request, and the ratio."""
    one, other = sides
    print(f"{'case':40}{one:>13}{other:>13}{'ratio':>13}  CPU us a request in the loop, median of {turns}")
    for name in names:
        spent: dict[str, list[float]] = {side: [] for side in sides}
        digests = set()
        try:
            for _ in range(turns):
                for side, run in sides.items():
                    result = run(name)
                    spent[side].append(result["loop_cpu_us"])
                    digests.add(result["digest"])
        except subprocess.CalledProcessError:
            print(f"{name:40}cannot be run by one of the two; the error stands above", flush=True)
            continue
        one_us, other_us = (statistics.median(figures) for figures in spent.values())
        note = "" if len(digests) == 1 else "  digests DIFFER"
        print(f"{name:40}{one_us:13.1f}{other_us:13.1f}{one_us / other_us:13.3f}{note}", flush=True)


def main() -> None:
    """Run the cases, each in its own process, and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", choices=CASES, help="measure this case only; repeatable")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--list", action="store_true", help="name the cases")
    parser.add_argument("--trace", type=Path, default=TRACE if TRACE.is_file() else None, help="Azure trace")
    parser.add_argument("--repeats", type=int, default=2, help="warm runs a case; the fastest counts")
    parser.add_argument("--against", metavar="REV", help="compare with another commit, in turns")
    kernels = ("python", "compiled", "both")
    parser.add_argument("--kernel", choices=kernels, default="python", help="of the replicas; both: in turns, compared")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(CASES))
        return
    if arguments.trace is not None and not arguments.trace.is_file():
        sys.exit(f"bench: no file {arguments.trace}; name the Azure conversation trace, or leave --trace away")
    names = arguments.case or list(CASES)
    if arguments.here:
        print(json.dumps(run_case(names[0], arguments.trace, arguments.repeats, arguments.kernel)))
        return
    trace, turns = arguments.trace, arguments.repeats
    if arguments.against:
        with checkout(arguments.against) as other:
            roots = {"here": ROOT, arguments.against[:12]: other}
            sides = {side: partial(measure, root=root, trace=trace, repeats=1) for side, root in roots.items()}
            compare(names, {side: partial(run, kernel=arguments.kernel) for side, run in sides.items()}, turns)
        return
    if arguments.kernel == "both":
        kernels = ("compiled", "python")
        compare(
            names, {name: partial(measure, root=ROOT, trace=trace, repeats=1, kernel=name) for name in kernels}, turns
        )
        return
    results = [measure(name, ROOT, trace, turns, arguments.kernel) for name in names]
    bare = None
    if arguments.trace is not None:
        loop = [sys.executable, str(SCRIPTS / "bare_loop.py"), str(arguments.trace)]
        bare = json.loads(subprocess.run(loop, stdout=subprocess.PIPE, text=True, check=True).stdout)
    if arguments.json:
        print(json.dumps({"cases": results, "bare_loop": bare, "trace": str(arguments.trace or "")}, indent=1))
        return
    if arguments.trace is None:
        print("no trace given: a synthetic load with its mean figures stands in")
    report(results, bare)


if __name__ == "__main__":
    main()
