"""Vidur's capacity search: the configuration with most requests per second per dollar under a scheduling-delay limit.

    python scripts/vidur_capacity.py study.yaml --delay-limit-s 5 --vary fleet.pools.0.tensor_parallel=1,2,4

As Vidur's ``config_explorer`` does, each configuration is bisected on its rate until the 99th percentile of the time
that requests wait for their first step reaches the limit.  One run decides a rate; ``cluster-sim capacity`` gives
intervals.
"""

import argparse
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

from cluster_sim import InputError, Study, simulate
from cluster_sim.document import parse_value

START_PER_S = 1.0
MOST_STEPS = 16
RATE = "workload.arrivals.request_rate"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one line a configuration, and the best per dollar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="with arrivals that have a request_rate")
    parser.add_argument("--vary", action="append", default=[], metavar="KEY=A,B,...")
    parser.add_argument("--delay-limit-s", type=float, default=5.0)
    parser.add_argument("--tolerance", type=float, default=0.05, help="share by which the rate may be too low")
    options = parser.parse_args(arguments)
    try:
        study = Study.load(options.study)
        values = dict(_parsed(text) for text in options.vary)
        found = []
        for chosen in itertools.product(*values.values()):
            changes = dict(zip(values, chosen, strict=True))
            rate, usd_per_hour = capacity(study.with_changes(changes), options.delay_limit_s, options.tolerance)
            found.append((rate / usd_per_hour if usd_per_hour else 0.0, rate, usd_per_hour, changes))
            print(f"{_words(changes)}: {rate:.2f} requests/s at {usd_per_hour:.2f} USD/h")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    per_usd, rate, usd_per_hour, changes = max(found, key=lambda entry: entry[0])
    print(
        f"Best: {_words(changes)}: {3600 * per_usd:,.0f} requests/USD ({rate:.2f} a second at {usd_per_hour:.2f} USD/h)"
    )
    return 0


def capacity(study: Study, limit_s: float, tolerance: float) -> tuple[float, float]:
    """Return the highest rate whose p99 scheduling delay is within the limit, 0 for none, and the price an hour."""
    good, bad, rate = 0.0, float("inf"), START_PER_S
    usd_per_hour = 0.0
    for _ in range(MOST_STEPS):
        figures = simulate(study.with_changes({RATE: rate}), progress=False).figures
        usd_per_hour = figures["cost_usd"] / figures["gpu_hours"] * figures["gpus"]
        delay_s, lost = figures["queue_s"]["p99"], figures["requests"]["total"] - figures["requests"]["finished"]
        if delay_s is not None and delay_s <= limit_s and not lost:
            good = rate
        else:
            bad = rate
        if bad <= good * (1 + tolerance):
            break
        rate = 2 * rate if bad == float("inf") else (good * bad) ** 0.5 if good else rate / 2
    return good, usd_per_hour


def _parsed(text: str) -> tuple[str, list[object]]:
    key, separator, listed = text.partition("=")
    if not separator:
        raise InputError(f"--vary {text}: must look like KEY=A,B")
    return key, [parse_value(value, f"--vary {text}") for value in listed.split(",")]


def _words(changes: dict[str, object]) -> str:
    return " ".join(f"{key}={value}" for key, value in changes.items()) or "the study"


if __name__ == "__main__":
    sys.exit(main())
