"""Fuzzing of every reader of foreign files: ``python -m tests.fuzz --count 10000 --seed 1``.

Each case is drawn by seed and number alone, so ``--only NUMBER`` repeats one.  Files of cases that end in any other way
than with results or one message of wrong input are kept in ``fuzz-faults``.
"""

import argparse
import collections
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.cases import Outcome, play, preload
from tests.fuzz.subjects import Subject, subjects

KEPT = Path("fuzz-faults")


def main() -> int:
    """Play the cases; return 1 if any ended badly."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="repeat one case and print how it ends")
    parser.add_argument("--topic", help="subjects of one topic alone")
    options = parser.parse_args()
    preload()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as base:
        chosen = [one for one in subjects(Path(base)) if options.topic in (None, one.topic)]
        if options.only is not None:
            outcome = play(chosen, options.seed, options.only, Path(base) / "case")
            print(" ".join(outcome.subject.arguments), outcome.ended, outcome.fault or "as it should", sep="\n")
            keep(Path(base) / "case", f"{options.seed}-{options.only}")
            return int(bool(outcome.fault))
        return play_all(chosen, options.seed, options.count, Path(base))


def play_all(chosen: list[Subject], seed: int, count: int, base: Path) -> int:
    """Play cases 0 to ``count`` - 1 and print what went wrong, then how all ended."""
    counts: collections.Counter[str] = collections.Counter()
    faults, slowest_s, largest = 0, 0.0, 0
    started_s = time.monotonic()
    for number in range(count):
        outcome = play(chosen, seed, number, base / "case")
        counts[_summary(outcome)] += 1
        slowest_s, largest = max(slowest_s, outcome.ended.cpu_s), max(largest, outcome.ended.peak_bytes)
        if outcome.fault:
            faults += 1
            keep(base / "case", f"{seed}-{number}")
            print(f"--seed {seed} --only {number}: {' '.join(outcome.subject.arguments)}: {outcome.fault}", flush=True)
    for name, times in sorted(counts.items()):
        print(f"{times:7} {name}")
    wall_s = time.monotonic() - started_s
    print(f"{count} cases in {wall_s:.0f} s, {faults} faults, at most {slowest_s:.1f} s and {largest >> 20} MiB each")
    return int(faults > 0)


def keep(case: Path, name: str) -> None:
    """Copy the files of a case."""
    shutil.rmtree(KEPT / name, ignore_errors=True)
    shutil.copytree(case, KEPT / name, symlinks=True)


def _summary(outcome: Outcome) -> str:
    return f"{outcome.subject.topic}: {'fault' if outcome.fault else outcome.result}"


if __name__ == "__main__":
    sys.exit(main())
