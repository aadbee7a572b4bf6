"""The command in a child with bounds on its time and memory, and what counts as an orderly end."""

import contextlib
import json
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final, NamedTuple, NoReturn

import cluster_sim
from cluster_sim.cli.app import EXIT_INPUT, main
from tests.fuzz.line_watch import Line, LineWatch
from tests.fuzz.small_work import make_work_small

MOST_S: Final = 10.0
"""CPU time of one command."""
MOST_WALL_S: Final = 60.0
MOST_BYTES: Final = 2 << 30
"""Resident memory of one command, that of the program itself included."""
ORDERLY: Final = (0, EXIT_INPUT)
LONG: Final = (-signal.SIGXCPU, -signal.SIGKILL)
"""Codes of children that were ended for the time they took."""


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    """Exit code; minus the signal that ended it."""
    out: str
    error: str
    cpu_s: float
    peak_bytes: int
    lines: frozenset[Line] = frozenset()
    """Lines reached that were not known."""


def run_guarded(
    arguments: Sequence[str],
    folder: Path,
    file_bytes: int = MOST_BYTES,
    *,
    known: set[Line] | None = None,
    is_command: bool = False,
) -> Ended:
    """Run ``cluster-sim`` with arguments in ``folder``; a child that takes too long or too much is killed.

    The child is forked from this process; with ``is_command`` it is the installed command, started as a user does.
    With ``known`` lines it tells which others it reached.  No file can grow beyond ``file_bytes``.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as error, tempfile.TemporaryFile("w+") as lines:
        child = os.fork()
        if child == 0:
            watch = None if known is None or is_command else LineWatch(known)
            _become((out.fileno(), error.fileno()), folder, file_bytes)
            if is_command:
                _command(arguments)
            _run(arguments, watch, lines)
        deadline_s = time.monotonic() + MOST_WALL_S
        while True:
            ended, status, usage = os.wait4(child, os.WNOHANG)
            if ended:
                break
            if time.monotonic() > deadline_s:
                os.kill(child, signal.SIGKILL)
            time.sleep(0.002)
        texts = []
        for stream in (out, error):
            stream.seek(0)
            texts.append(stream.read().decode("utf-8", "replace"))
        lines.seek(0)
        found = frozenset((file, number) for file, number in json.loads(lines.read() or "[]"))
    code = os.waitstatus_to_exitcode(status)
    return Ended(code, texts[0], texts[1], usage.ru_utime + usage.ru_stime, usage.ru_maxrss << 10, found)


def fault_of(ended: Ended, before: set[str], folder: Path, orderly: Sequence[int] = ORDERLY) -> str:
    """Return what is wrong with how a command ended, or nothing: another code, no message or a bad one, leftovers."""
    if ended.code in LONG:
        return f"ran for more than {MOST_S:g} s"
    if ended.code not in orderly:
        return f"exit code {ended.code}: {ended.error[-600:]}"
    if ended.peak_bytes > MOST_BYTES:
        return f"took {ended.peak_bytes >> 20} MiB"
    if "Traceback" in ended.error or "Traceback" in ended.out:
        return f"printed a traceback: {ended.error[-600:]}"
    if ended.code != EXIT_INPUT:
        return ""
    lines = ended.error.splitlines()
    if sum(line.startswith("error: ") for line in lines) != 1 and not any("Usage:" in line for line in lines):
        return f"printed no message, or several: {ended.error[:600]}"
    if len(ended.error) > 21_000:
        return f"printed {len(ended.error)} characters: {ended.error[:300]}"
    left = {path.name for path in folder.iterdir()} - before
    return f"left {sorted(left)} behind" if left else ""


def _become(streams: tuple[int, int], folder: Path, file_bytes: int) -> None:
    """Become a process of its own: its output in files, its time and memory bounded."""
    os.chdir(folder)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(streams[0], 1)
    os.dup2(streams[1], 2)
    resource.setrlimit(resource.RLIMIT_CPU, (int(MOST_S), int(MOST_S) + 2))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2 * MOST_BYTES, used + 2 * MOST_BYTES))


def _command(arguments: Sequence[str]) -> NoReturn:
    """Become the command."""
    root = str(Path(cluster_sim.__file__).parents[1])
    os.execve(sys.executable, [sys.executable, "-m", "cluster_sim", *arguments], os.environ | {"PYTHONPATH": root})


def _run(arguments: Sequence[str], watch: LineWatch | None, lines: IO[str]) -> NoReturn:
    """Run the command in this process, and end it."""
    code = 70
    try:
        make_work_small()
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", errors="replace", closefd=False)
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="replace", closefd=False)
        sys.argv = ["cluster-sim", *arguments]
        try:
            if watch is not None:
                watch.start()
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        sys.settrace(None)
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        if watch is not None:
            json.dump(sorted(watch.found), lines)
            lines.flush()
    finally:
        os._exit(code)
