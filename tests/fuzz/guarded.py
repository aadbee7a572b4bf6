"""The command in a forked child with bounds on its time and memory, and what counts as an orderly end."""

import contextlib
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

from cluster_sim.cli.app import main

MOST_S: Final = 10.0
"""CPU time of one command."""
MOST_WALL_S: Final = 60.0
MOST_BYTES: Final = 2 << 30
"""Resident memory of one command, that of the program itself included."""
ORDERLY: Final = (0, 2)
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


def run_guarded(arguments: Sequence[str], folder: Path, file_bytes: int = MOST_BYTES) -> Ended:
    """Run ``cluster-sim`` with arguments in ``folder``; a child that takes too long or too much is killed.

    No file can grow beyond ``file_bytes``.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as error:
        child = os.fork()
        if child == 0:
            _run(arguments, folder, out.fileno(), error.fileno(), file_bytes)
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
    code = os.waitstatus_to_exitcode(status)
    return Ended(code, texts[0], texts[1], usage.ru_utime + usage.ru_stime, usage.ru_maxrss << 10)


def fault_of(ended: Ended, before: set[str], folder: Path) -> str:
    """Return what is wrong with how a command ended, or nothing: another code, no message or a bad one, leftovers."""
    if ended.code in LONG:
        return f"ran for more than {MOST_S:g} s"
    if ended.code not in ORDERLY:
        return f"exit code {ended.code}: {ended.error[-600:]}"
    if ended.peak_bytes > MOST_BYTES:
        return f"took {ended.peak_bytes >> 20} MiB"
    if "Traceback" in ended.error or "Traceback" in ended.out:
        return f"printed a traceback: {ended.error[-600:]}"
    if ended.code == 0:
        return ""
    lines = ended.error.splitlines()
    if sum(line.startswith("error: ") for line in lines) != 1 and not any("Usage:" in line for line in lines):
        return f"printed no message, or several: {ended.error[:600]}"
    if len(ended.error) > 21_000:
        return f"printed {len(ended.error)} characters: {ended.error[:300]}"
    left = {path.name for path in folder.iterdir()} - before
    return f"left {sorted(left)} behind" if left else ""


def _run(arguments: Sequence[str], folder: Path, out: int, error: int, file_bytes: int) -> NoReturn:
    """Become the command: its output in files, its time and memory bounded."""
    code = 70
    try:
        os.chdir(folder)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(error, 2)
        resource.setrlimit(resource.RLIMIT_CPU, (int(MOST_S), int(MOST_S) + 2))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 2 * MOST_BYTES, used + 2 * MOST_BYTES))
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", errors="replace", closefd=False)
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="replace", closefd=False)
        sys.argv = ["cluster-sim", *arguments]
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
    finally:
        os._exit(code)
