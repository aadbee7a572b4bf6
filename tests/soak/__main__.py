"""Soak test: random studies of whole services, compared between executors for hours.

``python -m tests.soak --hours 8 --seed 1`` draws study after study, many with faults of replicas and links, and runs
each inline, in single steps, one replica a group, in random groups that answer with random delays, with full states
checked in every window, and with all processes dropped at random window edges and restored from snapshots.  Rows,
counters and series are compared.  The first difference ends it with the line that repeats it; the study is kept in
``soak-faults``.
"""

import argparse
import sys
import time
import traceback
from pathlib import Path

from tests.soak.drawn import compare, study_yaml

KEPT = Path("soak-faults")
REPORTS_S = 60.0


def main() -> int:
    """Compare until the time is over; return 1 at the first difference."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1, help="of the first study; the next ones follow")
    parser.add_argument("--only", type=int, help="compare the study of one seed")
    options = parser.parse_args()
    if options.only is not None:
        print(study_yaml(options.only))
        print(compare(options.only))
        return 0
    started_s = reported_s = time.monotonic()
    seed, requests = options.seed, 0
    while time.monotonic() - started_s < options.hours * 3600:
        try:
            requests += compare(seed)
        except Exception:  # noqa: BLE001 - whatever a study brings up is what is looked for
            traceback.print_exc()
            KEPT.mkdir(exist_ok=True)
            (KEPT / f"{seed}.yaml").write_text(study_yaml(seed), encoding="utf-8")
            print(f"differs: python -m tests.soak --only {seed} (its study is {KEPT / f'{seed}.yaml'})")
            return 1
        seed += 1
        if time.monotonic() - reported_s > REPORTS_S:
            reported_s = time.monotonic()
            print(f"{seed - options.seed} studies of {requests:,} requests are equal everywhere", flush=True)
    print(f"{seed - options.seed} studies of {requests:,} requests are equal everywhere, no difference")
    return 0


if __name__ == "__main__":
    sys.exit(main())
