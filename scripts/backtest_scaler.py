"""Decisions of a study's autoscaler on recorded metrics.

    python scripts/backtest_scaler.py STUDY.yaml METRICS.csv [--out DECISIONS.csv] [--set KEY=VALUE ...]

METRICS is a CSV or Parquet file with a row for each time and pool, or for each replica of it: ``time_s``, ``pool``
(may be missing with a single pool), ``replica`` (may be missing), and whatever of these was measured: ``ready``;
``running``, ``waiting``, ``kv_used_ratio`` (of the replica, or means over the ready ones); ``in_flight``, ``queued``;
``arrivals``, ``prompt_tokens``, ``ended``, ``output_tokens`` (since the row before); ``ttft_s``, ``itl_s``.  Other
columns are left out, so ``series.parquet`` of a run will do for scalers that read samples.
"""

import argparse
import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cluster_sim.config.loading.load import load_study
from cluster_sim.errors import InputError
from cluster_sim.routing.scaling.back_test import COLUMNS, Decision, Record, back_test
from cluster_sim.simulation.fleet_scaling import acted_on
from cluster_sim.simulation.plan import make_plan
from cluster_sim.units import NS_PER_S


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a CSV or Parquet file."""
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        yield from pq.read_table(path).to_pylist()
        return
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def read_records(path: Path, pools: Sequence[str]) -> list[Record]:
    """Return the records of a file in the order of time; raises InputError with the row at fault."""
    records = []
    for number, row in enumerate(read_rows(path), 1):
        pool = row.get("pool") or (pools[0] if len(pools) == 1 else "")
        if pool not in pools:
            raise InputError(f"{path}, row {number}: pool {pool!r} is not one of {', '.join(pools)}")
        try:
            values = {name: float(row[name]) for name in COLUMNS if row.get(name) not in (None, "")}
            time_ns = round(float(row["time_s"]) * NS_PER_S)
            replica = int(row["replica"]) if row.get("replica") not in (None, "") else -1
        except (KeyError, ValueError) as error:
            raise InputError(f"{path}, row {number}: {error}; time_s and the measured columns are numbers") from None
        if time_ns < 0 or any(not 0 <= value < float("inf") for value in values.values()):
            raise InputError(f"{path}, row {number}: times and figures are finite numbers that are not below 0")
        records.append(Record(time_ns, pool, replica, values))
    if not records:
        raise InputError(f"{path} has no rows")
    return sorted(records, key=lambda record: record.time_ns)


def decisions(study_path: Path, metrics_path: Path, overrides: Sequence[str] = ()) -> list[Decision]:
    """Return what a study's autoscaler decides on recorded metrics."""
    study = load_study(study_path, overrides)
    if study.autoscaler is None:
        raise InputError(f"{study_path} has no autoscaler")
    pools = acted_on(study, make_plan(study).pools)
    replicas = {pool.name: pool.replicas for pool in study.fleet.pools}
    records = read_records(metrics_path, [pool.name for pool in pools])
    return list(back_test(study.autoscaler, pools, replicas, records))


def main() -> int:
    """Print or write the decisions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("metrics", type=Path)
    parser.add_argument("--out", type=Path, help="file of the decisions; the terminal without it")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="other values for the study")
    arguments = parser.parse_args()
    try:
        found = decisions(arguments.study, arguments.metrics, arguments.set)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    with arguments.out.open("w", encoding="utf-8", newline="") if arguments.out else sys.stdout as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["time_s", *Decision._fields[1:]])
        writer.writerows([decision.time_ns / NS_PER_S, *decision[1:]] for decision in found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
