"""Fuzzing of every reader of foreign files: ``python -m tests.fuzz --count 10000 --seed 1``.

Files are changed at random, and those whose reading reached lines that no earlier one had are changed further.  Every
fiftieth case goes through the command as it is installed, the others run in forked children.  A case that ends in any
other way than with results or one message of wrong input is a fault: its files are kept in ``fuzz-faults``, and
``--only SUBJECT:SEEDS`` repeats it.
"""

import argparse
import collections
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.fuzz.cases import Case, Cases, Outcome, play, preload
from tests.fuzz.subjects import subjects

KEPT: Final = Path("fuzz-faults")
COMMAND_EVERY: Final = 50
REPORTS_S: Final = 60.0


def main() -> int:
    """Play the cases; return 1 if any ended badly."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", metavar="SUBJECT:SEEDS", help="repeat one case and print how it ends")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="play no more cases after so long")
    parser.add_argument("--topic", action="append", help="subjects of one topic alone; repeatable")
    options = parser.parse_args()
    preload()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as base:
        (Path(base) / "made").mkdir()
        found = subjects(Path(base) / "made")
        if options.only is not None:
            outcome = play(found, Case.parse(options.only), Path(base) / "case")
            print(" ".join(outcome.subject.arguments), outcome.ended, outcome.fault or "as it should", sep="\n")
            keep(Path(base) / "case", outcome.case)
            return int(bool(outcome.fault))
        cases = Cases(found, options.seed, options.topic)
        return play_all(cases, options.count, options.minutes, Path(base) / "case")


def play_all(cases: Cases, count: int, minutes: float, folder: Path) -> int:
    """Play cases and print what went wrong, then how all ended."""
    counts: collections.Counter[str] = collections.Counter()
    faults, commands, slowest_s, largest = 0, 0, 0.0, 0
    started_s = reported_s = time.monotonic()
    for number in range(count):
        if time.monotonic() - started_s > 60 * minutes:
            break
        if time.monotonic() - reported_s > REPORTS_S:
            reported_s = time.monotonic()
            print(f"{number} cases, {faults} faults, {len(cases.known):,} lines reached", flush=True)
        is_command = number % COMMAND_EVERY == 0
        commands += is_command
        outcome = cases.play_next(folder, is_command=is_command)
        counts[_summary(outcome)] += 1
        slowest_s, largest = max(slowest_s, outcome.ended.cpu_s), max(largest, outcome.ended.peak_bytes)
        if outcome.fault:
            faults += 1
            keep(folder, outcome.case)
            print(f"--only {outcome.case}: {' '.join(outcome.subject.arguments)}: {outcome.fault}", flush=True)
    for name, times in sorted(counts.items()):
        print(f"{times:7} {name}")
    wall_s = time.monotonic() - started_s
    print(f"{len(cases.known):,} lines reached; {cases.leading} cases led to new ones; {commands} were commands")
    most = f"at most {slowest_s:.1f} s and {largest >> 20} MiB each"
    print(f"{counts.total()} cases in {wall_s:.0f} s, {faults} faults, {most}")
    return int(faults > 0)


def keep(folder: Path, case: Case) -> None:
    """Copy the files of a case."""
    kept = KEPT / str(case).replace(":", "-").replace(",", "-")
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(folder, kept, symlinks=True)


def _summary(outcome: Outcome) -> str:
    return f"{outcome.subject.topic}: {'fault' if outcome.fault else outcome.result}"


if __name__ == "__main__":
    sys.exit(main())
