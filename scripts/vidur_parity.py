"""Replay of Vidur's runs by the simulator, every request's times compared.

Usage: vidur_parity.py DIR... [--predictor DIR] [--target X] [--compositions]

DIR is a run directory or one that holds several.  A run directory holds ``config.json`` (Vidur's own), ``summary.json``
(planned KV blocks, batches, restarts), ``requests.csv.gz`` (arrivals, lengths, times) and perhaps ``batches.csv.gz``.
The dense tables of Vidur's predictor are in ``--predictor``, by default ``predictor`` beside the run directory.
For vllm and sarathi runs the step times come from those tables and each request's scheduled, first-token and completion
times are compared, relative to max(|time|, 1 ms).  If the tables were not kept, the logged durations are replayed and
the sequence of batch compositions is compared.  Exit code 1 above the target, 2 for wrong input.
"""

import argparse
import csv
import gzip
import io
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from cluster_sim.calibration.library_match import match_device
from cluster_sim.engine.loop import Exchange
from cluster_sim.errors import InputError
from cluster_sim.hardware.batch_shape import BatchShape, Int64Array
from cluster_sim.hardware.engine_settings import default_settings
from cluster_sim.hardware.model import Model
from cluster_sim.hardware.predictors.kinds.vidur_tables import VidurTablePredictor
from cluster_sim.hardware.predictors.predictor_interface import Predictor
from cluster_sim.hardware.predictors.vidur_files import load_vidur_tables
from cluster_sim.hardware.replica_hardware import ReplicaHardware
from cluster_sim.metrics.objectives import Slo
from cluster_sim.metrics.run_metadata import PoolMetadata, RunMetadata
from cluster_sim.routing.candidates import Candidates
from cluster_sim.routing.options import Telemetry
from cluster_sim.routing.policies.least_waiting import LeastWaitingOptions
from cluster_sim.routing.policies.round_robin import RoundRobinOptions
from cluster_sim.routing.policy_interface import RoutingPolicy, build_policy
from cluster_sim.serving.pipeline import Pipeline
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.schedulers.base import Scheduler
from cluster_sim.serving.schedulers.data_parallel import build_scheduler
from cluster_sim.serving.schedulers.engine_options import EngineOptions, engine_options
from cluster_sim.simulation.executor import RunOutputs
from cluster_sim.simulation.inline import InlineExecutor
from cluster_sim.simulation.simulation import Processes, SimulatedPool, Simulation
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.request import Request

TARGET = 1e-6
KINDS = {"vllm": "vllm_v0"}
"""Vidur's scheduler names that differ from ours."""
WITHOUT_TABLES = {"orca", "lightllm", "faster_transformer"}

Composition = tuple[int, int, str]
"""(decodes, sum of their processed tokens as Vidur counts them, prefill chunks as tokens+processed)."""


class Row(NamedTuple):
    """One request of the reference."""

    request: Request
    replica: int
    times_s: tuple[float, float, float]
    restarts: int


class Run:
    """One reference directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = _read_json(directory / "config.json")
        self.summary = _read_json(directory / "summary.json")
        cluster = self.config["cluster_config"]
        self.scheduler: dict[str, Any] = cluster["replica_scheduler_config"]
        self.routing: str = cluster["global_scheduler_config"]["name"]
        self.replica: dict[str, Any] = cluster["replica_config"]
        self.replicas = int(cluster["num_replicas"])
        self.stages = int(self.replica["num_pipeline_stages"])
        self.max_tokens = int(_find(self.config["request_generator_config"], "max_tokens") or 4096)
        self.rows = [_row(line) for line in _read_rows(directory / "requests.csv.gz")]
        self.rows.sort(key=lambda row: (row.request.arrival_ns, row.request.request_id))
        log = directory / "batches.csv.gz"
        self.batches: list[list[dict[str, str]]] | None = None
        if log.is_file():
            self.batches = [[] for _ in range(self.replicas)]
            for line in _read_rows(log):
                self.batches[int(line["replica_id"])].append(line)

    @property
    def name(self) -> str:
        """Vidur's name of the scheduler."""
        return str(self.scheduler["name"])

    def limits(self) -> tuple[EngineOptions, SchedulerLimits]:
        """Return the scheduler's settings as our engine has them."""
        scheduler = self.scheduler
        cap = int(scheduler["batch_size_cap"])
        if self.name in {"orca", "faster_transformer"}:
            cap = min(cap, int(self.summary.get("max_batch_size") or self._planned()[1]))
        budget = scheduler.get("chunk_size") or scheduler.get("max_tokens_in_batch") or 1 << 40
        blocks = int(self.summary.get("num_blocks") or scheduler.get("num_blocks") or self._planned()[0])
        engine = engine_options(
            kind=KINDS.get(self.name, self.name),
            watermark_ratio=float(scheduler["watermark_blocks_fraction"]),
            block_size=int(scheduler["block_size"]),
            max_waiting_iters=int(scheduler.get("max_waiting_iters") or 10),
            vidur_compat=True,
        )
        limits = SchedulerLimits(
            kv_blocks=blocks,
            block_size=int(scheduler["block_size"]),
            max_num_seqs=cap,
            max_num_batched_tokens=int(budget),
            max_model_len=self.max_tokens,
            pipeline_parallel=self.stages,
            batches_in_flight=self.stages,
            is_async=False,
            can_fast_forward=False,
        )
        return engine, limits

    def policy(self) -> Callable[[Candidates], RoutingPolicy]:
        """Return the factory of the routing policy: Vidur's own, or the logged placements if it draws them."""
        if self.routing == "lor":  # Vidur's reads the queues at every decision.
            now = Telemetry(period_ms=0, latency_ms=0)
            return partial(build_policy, LeastWaitingOptions(telemetry=now, ties="first"))
        if self.routing == "round_robin":
            return partial(build_policy, RoundRobinOptions())
        return partial(LoggedPlacements, {row.request.request_id: row.replica for row in self.rows})

    def _planned(self) -> tuple[int, int]:
        """Return Vidur's planned (KV blocks, batch size) where the run does not say."""
        replica, model = self.replica, self.replica["model_config"]
        degree = int(replica["tensor_parallel_size"])
        hidden, queries = model["embedding_dim"], model["num_q_heads"]
        width = hidden // queries
        keys = -(-model["num_kv_heads"] // degree)
        attention = hidden * width * (queries / degree + 2 * keys) + hidden * width * (queries / degree)
        mlp = (3 if model["use_gated_mlp"] else 2) * hidden * model["mlp_hidden_dim"] // degree
        parameters = (attention + mlp) * model["num_layers"] / self.stages
        cache = 2 * 2 * width * keys * self.max_tokens * model["num_layers"]
        memory = replica["device_config"]["total_memory_gb"] * 2**30 * (1 - replica["memory_margin_fraction"])
        batch = int((memory - 2 * parameters) // cache)
        return self.max_tokens // int(self.scheduler["block_size"]) * batch * self.stages, batch

    def model(self) -> Model:
        """Return the model as Vidur's configuration describes it."""
        model = self.replica["model_config"]
        return Model(
            name=str(self.replica["model_name"]).rpartition("/")[2].lower(),
            hidden_size=model["embedding_dim"],
            num_hidden_layers=model["num_layers"],
            num_attention_heads=model["num_q_heads"],
            num_key_value_heads=model["num_kv_heads"],
            head_dim=model["embedding_dim"] // model["num_q_heads"],
            intermediate_size=model["mlp_hidden_dim"],
            vocab_size=model["vocab_size"],
            max_position_embeddings=model["max_position_embeddings"],
        )

    def predictor(self, tables: Path) -> VidurTablePredictor:
        """Return the predictor over the tables of the run's model, device and degrees."""
        degree = int(self.replica["tensor_parallel_size"])
        suffix = ".attn_decode.csv"
        known = sorted({path.name.partition(suffix)[0] for path in tables.glob(f"*{suffix}*")})
        fitting = [name for name in known if f"_{self.replica['device']}_tp{degree}_" in f"{name}_"]
        tag = self.directory.name.partition("_")[0]
        prefixes = [name for name in fitting if name.partition("_")[0] == tag]
        if not prefixes:
            size = re.search(r"(\d+)b", str(self.replica["model_name"]).lower())
            prefixes = [name for name in fitting if size and re.search(rf"\D{size[1]}_", name)]
        if len(prefixes) != 1:
            raise InputError(
                f"{self.directory}: {len(prefixes)} table sets in {tables} fit {self.replica['model_name']}, device "
                f"{self.replica['device']}, TP {degree}; known: {', '.join(known) or 'none'}; begin the folder's name "
                "with the first word of one"
            )
        loaded = load_vidur_tables(tables, prefixes[0], self.stages)
        device = match_device(str(self.replica["device"]))
        hardware = ReplicaHardware(self.model(), device, default_settings(device), degree, self.stages)
        return VidurTablePredictor(loaded, hardware)


class LoggedDurations(Predictor):
    """Answers with the logged durations of one replica's batches, in order."""

    def __init__(self, batches: list[dict[str, str]]) -> None:
        super().__init__()
        self._steps = [_to_ns(batch["completed_at"]) - _to_ns(batch["scheduled_at"]) for batch in batches]
        self._next = 0

    def step_ns(self, shape: BatchShape, stage: int = 0) -> int:  # noqa: ARG002 - the log knows
        """Return the next batch's duration; 1 ns beyond the log, whose end then shows as a difference."""
        self._next += 1
        return self._steps[self._next - 1] if self._next <= len(self._steps) else 1

    def decode_run_ns(self, decodes: int, kv_tokens: int, steps: int, stage: int = 0) -> Int64Array:  # noqa: ARG002
        """Refuse: a log has no closed form."""
        raise AssertionError("logged durations are replayed step by step")

    def floor_ns(self, stage: int = 0) -> int:  # noqa: ARG002
        """Return the least a step can take."""
        return 1


class LoggedPipeline(Pipeline):
    """Ends every batch when the log says, however many stages it went through."""

    def __init__(self, durations: LoggedDurations) -> None:
        super().__init__(durations)
        self._durations = durations

    def run(self, shape: BatchShape, scheduled_ns: int) -> tuple[int, int]:
        """Return (start, end); a logged duration begins when the batch is formed."""
        step = self._durations.step_ns(shape)
        self.busy_ns[0] += step
        return scheduled_ns, scheduled_ns + step


class RecordingScheduler:
    """A scheduler that also records the composition of its batches."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.compositions: list[Composition] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scheduler, name)

    def schedule(self, now_ns: int) -> Any:
        """Form a batch and record its composition."""
        batch = self._scheduler.schedule(now_ns)
        if batch is not None:
            shape = batch.shape
            chunks = ";".join(f"{chunk}+{cached}" for chunk, cached in shape.prefills)
            self.compositions.append((shape.decodes, shape.decode_kv_tokens + shape.decodes, chunks))
        return batch


class LoggedPlacements(RoutingPolicy):
    """Sends every request where Vidur sent it."""

    def __init__(self, replicas: dict[int, int], candidates: Candidates) -> None:
        super().__init__(RoundRobinOptions(), candidates)
        self._replicas = replicas

    def choose(self, request: Request, now_ns: int, eligible: Sequence[int] | None) -> int:  # noqa: ARG002 - the log knows
        """Return the logged replica."""
        return self._replicas[request.request_id]


class ReferenceRequests:
    """A ``RequestSource`` of the reference's requests."""

    def __init__(self, rows: list[Row]) -> None:
        self._rows = rows

    def chunks(self) -> Iterator[list[Request]]:
        """Yield all requests at once."""
        yield [row.request for row in self._rows]


class ReferenceExecutor(InlineExecutor):
    """The inline executor, with batches that end when the log says if only their durations are known."""

    def __init__(self, predictors: list[Predictor]) -> None:
        super().__init__()
        self._predictors = predictors

    def connect(self, processes: Processes) -> Exchange:
        """Replace the pipelines; call groups directly."""
        for replica, predictor in zip(processes.replicas, self._predictors, strict=True):
            if isinstance(predictor, LoggedDurations):
                replica.pipeline = LoggedPipeline(predictor)
        return super().connect(processes)


class Served(NamedTuple):
    """What became of one request."""

    replica: int
    times_ns: tuple[int, int, int]
    """Scheduled, first token, completed."""
    restarts: int


class Result(NamedTuple):
    """What a replay gave."""

    served: dict[int, Served]
    """By request; those that did not finish are absent."""
    compositions: list[list[Composition]]

    @property
    def batches(self) -> int:
        """Batches formed over all replicas."""
        return sum(len(batches) for batches in self.compositions)


def _same(scheduler: RecordingScheduler) -> Any:
    """Return the scheduler that has been built already."""
    return scheduler


def replay(run: Run, predictors: list[Predictor]) -> Result:
    """Simulate the reference's requests on one pool for each replica, whose predictors may differ."""
    engine, limits = run.limits()
    schedulers = [RecordingScheduler(build_scheduler(engine, limits)) for _ in range(run.replicas)]
    pools = tuple(
        SimulatedPool(
            name=str(index),
            model=run.name,
            replicas=1,
            first_replica=index,
            limits=limits,
            predictor=predictor,
            scheduler=partial(_same, scheduler),
        )
        for index, (scheduler, predictor) in enumerate(zip(schedulers, predictors, strict=True))
    )
    metadata = [
        PoolMetadata(pool.name, pool.model, "", 1, 1, 0.0, pool.predictor.label, limits.kv_blocks, run.max_tokens)
        for pool in pools
    ]
    simulation = Simulation(
        pools=pools,
        source=lambda: ReferenceRequests(run.rows),
        policy=run.policy(),
        metadata=RunMetadata(run.directory.name, 0, tuple(metadata), Slo()),
        keeps_rows=True,
    )
    outcome = ReferenceExecutor(predictors).run(simulation, RunOutputs())
    served: dict[int, Served] = {}
    names = ("request_id", "replica", "scheduled_ns", "first_token_ns", "finish_ns", "preemptions")
    for block in outcome.hub.rows or []:
        for request_id, replica, *times_ns, restarts in zip(
            *(block.column(name).tolist() for name in names), strict=True
        ):
            if times_ns[-1] >= 0:
                served[request_id] = Served(replica, (times_ns[0], times_ns[1], times_ns[2]), restarts)
    return Result(served, [scheduler.compositions for scheduler in schedulers])


def _predictors(run: Run, tables: Path) -> tuple[list[Predictor], bool]:
    """Return one predictor per replica, and whether they only repeat the log because the tables were not kept."""
    if run.name not in WITHOUT_TABLES:
        try:
            return [run.predictor(tables)] * run.replicas, False
        except InputError:
            if run.batches is None:
                raise
    if run.batches is None:
        raise InputError(f"{run.directory}: a {run.name} run needs batches.csv.gz, which is missing")
    return [LoggedDurations(batches) for batches in run.batches], True


def check(run: Run, tables: Path, target: float, shows_compositions: bool) -> bool:
    """Replay one directory, print its line and return whether it meets the target."""
    predictors, is_logged = _predictors(run, tables)
    result = replay(run, predictors)
    worst, where = 0.0, ""
    unfinished = misplaced = 0
    for row in run.rows:
        request_id = row.request.request_id
        served = result.served.get(request_id)
        if served is None:
            unfinished += 1
            continue
        misplaced += served.replica != row.replica
        labels = ("scheduled", "first token", "completed")
        for label, got_ns, want_s in zip(labels, served.times_ns, row.times_s, strict=True):
            difference = abs(got_ns / NS_PER_S - want_s) / max(abs(want_s), 1e-3)
            if difference > worst:
                worst, where = difference, f"{label} of request {request_id}"
    restarts = sum(served.restarts for served in result.served.values())
    want_batches, want_restarts = int(run.summary["batches"]), sum(row.restarts for row in run.rows)
    differing = _first_difference(run, result)
    is_good = (
        worst <= target
        and not unfinished
        and not misplaced
        and (result.batches, restarts) == (want_batches, want_restarts)
        and differing is None
    )
    missing = f", {unfinished} unfinished" if unfinished else ""
    moved = f", {misplaced} on another replica" if misplaced else ""
    print(
        f"{'ok  ' if is_good else 'FAIL'} {run.directory.name}: largest difference {worst:.3g}"
        f"{f' ({where})' if where else ''}, batches {result.batches} of {want_batches}, restarts {restarts} of "
        f"{want_restarts}, {'logged durations' if is_logged else 'tables'}, compositions "
        f"{'not logged' if run.batches is None else 'equal' if differing is None else 'differ'}"
        f"{missing}{moved}"
    )
    if differing is not None and shows_compositions:
        print(f"     {differing}")
    return is_good


def _first_difference(run: Run, result: Result) -> str | None:
    """Return where the sequence of batch compositions first departs from the log; None if nowhere or not logged."""
    if run.batches is None:
        return None
    for replica, (logged, formed) in enumerate(zip(run.batches, result.compositions, strict=True)):
        for index, batch in enumerate(logged):
            want = (
                int(batch["num_decode_reqs"]),
                int(batch["sum_decode_kv"]),
                batch["prefill_chunks(tokens+already_processed)"],
            )
            got = formed[index] if index < len(formed) else None
            if got is None or got[:2] != want[:2] or _chunks(got[2]) != _chunks(want[2]):
                return f"replica {replica}, batch {index} at {batch['scheduled_at']} s: {got} instead of {want}"
        if len(formed) > len(logged):
            return f"replica {replica}: {len(formed)} batches instead of {len(logged)}"
    return None


def _chunks(text: str) -> list[str]:
    return text.replace(";", " ").replace(",", " ").replace("|", " ").split()


def _find(config: dict[str, Any], key: str) -> Any:
    """Return a key of a configuration or, where it lacks it, of the sections inside."""
    if config.get(key) is not None:
        return config[key]
    for value in config.values():
        if isinstance(value, dict) and (found := _find(value, key)) is not None:
            return found
    return None


def _to_ns(seconds: str) -> int:
    return round(float(seconds) * NS_PER_S)


def _row(line: dict[str, str]) -> Row:
    request = Request(
        int(line["request_id"]),
        _to_ns(line["arrived_at"]),
        int(float(line["num_prefill_tokens"])),
        int(float(line["num_decode_tokens"])),
    )
    times = (float(line["scheduled_at"]), float(line["prefill_completed_at"]), float(line["completed_at"]))
    return Row(request, int(line["replica_id"]), times, int(line["num_restarts"]))


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value


def _read_rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        plain = path.with_suffix("")
        if not plain.is_file():
            raise InputError(f"{path}: no such file")
        return list(csv.DictReader(io.StringIO(plain.read_text(encoding="utf-8"))))
    return list(csv.DictReader(io.StringIO(gzip.decompress(path.read_bytes()).decode())))


def run_directories(paths: list[Path]) -> list[Path]:
    """Return the run directories among and inside ``paths``; InputError where there is none."""
    found: list[Path] = []
    for path in paths:
        inside = sorted(config.parent for config in path.glob("*/config.json")) if path.is_dir() else []
        here = [path] if (path / "config.json").is_file() else inside
        if not here:
            raise InputError(f"{path}: neither a run directory (with config.json) nor one that holds any")
        found += here
    return found


def main() -> int:
    """Compare every directory given; return the exit code."""
    parser = argparse.ArgumentParser(description="Compare with reference runs of Vidur.")
    parser.add_argument("directories", nargs="+", type=Path, metavar="DIR")
    parser.add_argument("--predictor", type=Path, help="directory of the dense tables")
    parser.add_argument("--target", type=float, default=TARGET, help="largest relative difference allowed")
    parser.add_argument("--compositions", action="store_true", help="show the first batch that differs")
    options = parser.parse_args()
    is_good = True
    try:
        for directory in run_directories(options.directories):
            tables = options.predictor or directory.resolve().parent / "predictor"
            is_good &= check(Run(directory), tables, options.target, options.compositions)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
