"""Report of ``validate``: the resolved study, the memory plan, and how far the actors can run ahead.

The report is YAML with comments, so it is itself a study file.  What decides stands at its end, where a screen shows
it: the memory plan, notes, warnings and the verdict.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

from cluster_sim.config.loading.canonical import config_hash, resolved_yaml
from cluster_sim.config.schema.study import Study
from cluster_sim.engine.observation import Observation
from cluster_sim.errors import InputError
from cluster_sim.hardware.device import device_names, load_device
from cluster_sim.hardware.link_library import link_names, load_link
from cluster_sim.hardware.memory_plan import MemoryPlan
from cluster_sim.hardware.model import load_model, model_names
from cluster_sim.shown_values import by_number, counted
from cluster_sim.simulation.executor_choice import choose_executor
from cluster_sim.simulation.fleet_links import link_warnings
from cluster_sim.simulation.fleet_sites import site_warnings
from cluster_sim.simulation.impossible_requests import first_requests
from cluster_sim.simulation.mean_field.covered import check_covered
from cluster_sim.simulation.model_names import nameless_notice
from cluster_sim.simulation.outcome_checks import check_arrivals, impossible_causes, none_can_run
from cluster_sim.simulation.plan import Plan, PoolPlan, make_plan, pool_hardware
from cluster_sim.simulation.simulation import Simulation
from cluster_sim.study.fleet_lines import fleet_lines
from cluster_sim.study.model_line import model_lines
from cluster_sim.study.variants import Variant
from cluster_sim.units import NS_PER_MS
from cluster_sim.workload.build import build_columns, build_source, first_arrival_ns, total_requests
from cluster_sim.workload.columns import concatenate

GIB: Final = 1 << 30


def validation_report(
    study: Study, variants: Sequence[Variant] = (), notes: Sequence[str] = (), *, has_lookahead: bool = False
) -> str:
    """Return the report; raise ``InputError`` if a model does not fit, a file cannot be read, settings conflict, or no
    replica can ever run a request.

    A trace is read to its end, so every row of it is checked.  ``notes`` are those of the reader.  With the
    ``variants`` of a sweep it is enough if one of them is valid, which is then reported on.
    """
    try:
        plan, remarks, label = make_plan(study), [], ""
    except InputError as error:
        valid = next((variant for variant in variants if variant.study is not None), None)
        if valid is None or valid.study is None:
            raise
        study, plan, label = valid.study, make_plan(valid.study), f" as {valid.label}"
        remarks = [f"Without the sweep's values the study is not valid ({error}); this is {valid.label}:"]
    if study.run.detail == "estimate":
        check_covered(study, plan, concatenate(list(build_columns(study.workload, study.seed).columns())))
    simulation = plan.in_full().simulation()
    impossible = _impossible(study, simulation, has_others=bool(variants) or study.plan is not None)
    pools = tuple(planned.pool for planned in plan.pools[: len(study.fleet.pools)])  # Without what its changes add.
    resolved = study.model_copy(update={"fleet": study.fleet.model_copy(update={"pools": pools})})
    lines = [
        *(f"# {remark}" for remark in remarks),
        f"# Every value of {study.name}, pinned defaults filled in:",
        resolved_yaml(resolved).rstrip("\n"),
        "",
        "# Workload:",
        *(f"#   {line}" for line in _workload(study, plan)),
        "# Fleet:",
        *(f"#   {line}" for line in fleet_lines(plan)),
        "# Models:",
        *(f"#   {line}" for line in dict.fromkeys(line for pool in plan.pools for line in model_lines(pool.hardware))),
        "# Step times:",
        *(f"#   {line}" for line in _step_times(simulation)),
        *(["# Lookahead:"] if has_lookahead else []),
        *(f"#   {line}" for line in (_lookahead(simulation) if has_lookahead else ())),
        "# Memory plan of one GPU, and KV cache of one replica:",
        *(f"#   {line}" for planned in plan.pools for line in _memory(planned)),
        *(f"# {line}" for line in _sweep(variants)),
        *(f"# Note: {note}" for note in notes),
        *(f"# Warning: {line}" for line in (*site_warnings(study.fleet), *link_warnings(study.fleet), *impossible)),
        f"# {study.name} is valid{label}; configuration hash {config_hash(study)}",
    ]
    return "\n".join(lines) + "\n"


def refused_models(study: Study) -> str:
    """Return the lines about the models of a study that is refused: of those whose files can be read."""
    lines: list[str] = []
    for pool in study.fleet.pools:
        with suppress(InputError):
            lines += model_lines(pool_hardware(study, pool)[1])
    return "".join(f"{line}\n" for line in ("# Models:", *(f"#   {line}" for line in dict.fromkeys(lines))) if lines)


def check_library() -> str:
    """Load every device and model of the library; return how many, or raise ``InputError`` that lists the faulty."""
    problems = []
    for names, load in ((device_names(), load_device), (model_names(), load_model), (link_names(), load_link)):
        for name in names:
            try:
                load(name)
            except InputError as error:
                problems.append(str(error))
    if problems:
        raise InputError("\n".join(problems))
    counts = f"{len(device_names())} devices, {len(link_names())} links and {len(model_names())} models"
    return f"# Library: {counts} are valid.\n"


def _workload(study: Study, plan: Plan) -> Iterator[str]:
    notices: list[str] = []
    source = build_source(study.workload, study.seed, notices)
    check_arrivals(plan.end_ns, first_arrival_ns(source))
    total = total_requests(study.workload)
    count, reacts = total or 0, hasattr(source, "on_end")
    verb = by_number(count, "reacts", "react") if reacts else by_number(count, "arrives", "arrive")
    number = "requests" if total is None else f"at most {total} {by_number(total, 'request', 'requests')}"
    yield f"{study.workload.kind}: {number} that {verb} {'to how earlier ones end' if reacts else 'whatever happens'}"
    yield from notices
    yield from nameless_notice(study.workload.model, plan.models)


def _impossible(study: Study, simulation: Simulation, *, has_others: bool) -> list[str]:
    """Return a warning of requests that no replica can ever run, if there are some among the first.

    Raises InputError as the run does if there are no others, unless the study ``has_others`` to run than itself.
    """
    found = first_requests(study, simulation)
    if found.none_can_run and found.is_all and not has_others:
        raise InputError(none_can_run(simulation.metadata, found.impossible))
    if not found.impossible:
        return []
    count = "any" if found.none_can_run else f"{found.impossible.total():,}"
    of = f"{'the' if found.is_all else 'the first'} {counted(found.looked_at, 'request')}"
    return [f"workload: no replica can ever run {count} of {of} ({impossible_causes(found.impossible)})"]


def _sweep(variants: Sequence[Variant]) -> Iterator[str]:
    if not variants:
        return
    invalid = [variant for variant in variants if variant.study is None]
    yield f"Sweep: {counted(len(variants), 'combination')}, {len(variants) - len(invalid)} of them valid"
    for variant in invalid:
        yield from f"{variant.label}: {variant.error}".splitlines()


def _memory(planned: PoolPlan) -> Iterator[str]:
    pool, memory = planned.pool, planned.memory
    hardware, gpus, ranks = planned.hardware, pool.gpus_per_replica, pool.data_parallel
    replicas = counted(pool.replicas, "replica")
    yield f"{pool.name}: {replicas} of {hardware.model.name} on {gpus} x {hardware.device.name} each"
    if ranks > 1:
        yield f"  {ranks} ranks, each with the following"
    if memory is None:
        yield f"  {pool.engine.num_kv_blocks} KV {_blocks(pool.engine.num_kv_blocks)}, fixed by engine.num_kv_blocks"
        return
    yield (
        f"  memory {memory.memory_bytes / GIB:.2f} GiB, usable {memory.usable_bytes / GIB:.2f}: "
        f"weights {memory.weights_bytes / GIB:.2f}, activations {memory.activation_bytes / GIB:.2f}, "
        f"runtime {memory.runtime_bytes / GIB:.2f}"
    )
    yield (
        f"  {memory.kv_blocks} KV {_blocks(memory.kv_blocks)} of "
        f"{memory.block_size} {by_number(memory.block_size, 'token', 'tokens')}: "
        f"{memory.kv_tokens} tokens, {_concurrency(planned, memory):.1f} requests of {planned.limits.max_model_len}"
    )


def _blocks(count: int | None) -> str:
    return by_number(count or 0, "block", "blocks")


def _concurrency(planned: PoolPlan, memory: MemoryPlan) -> float:
    """Return how many of the longest requests the cache holds at once, with what windows and states make of them."""
    limits = planned.limits
    if limits.kv_groups is None:
        return memory.kv_tokens / limits.max_model_len
    longest = limits.kv_groups.most_blocks(limits.max_model_len, limits.max_num_batched_tokens, memory.block_size)
    return memory.kv_blocks / longest


def _step_times(simulation: Simulation) -> Iterator[str]:
    """Yield where each pool's step times come from, why, and how far figures may lie from a real engine's."""
    for pool in simulation.metadata.pools:
        yield f"{pool.name}: {pool.predictor_label}"
        if pool.predictor_choice:
            yield f"  {pool.predictor_choice}"
        band = pool.error_band
        widths = ((name, band.error_of(name, is_near_saturation=False)) for name in ("ttft_p99", "tpot_p99", "e2e_p99"))
        known = [f"{name.replace('_', ' ')} +-{width:.0f} %" for name, width in widths if width is not None]
        yield f"  error ({band.case.words}): {', '.join(known) or 'unknown'}"


def _lookahead(simulation: Simulation) -> Iterator[str]:
    """Yield the limits on how far the router and the replicas may run ahead of each other."""
    for delays in dict.fromkeys(pool.delays for pool in simulation.pools):
        yield f"links: {_ms(delays.forward_ns)} to a replica, {_ms(delays.return_ns)} back"
    for pool in simulation.pools:
        floors = pool.floors
        cycle_ns = sum(pool.delays) + floors.traversal_ns
        yield (
            f"{pool.name} ({pool.predictor.label}): a step takes at least {_ms(floors.step_ns)}, a batch at least "
            f"{_ms(floors.traversal_ns)}; router - replica - router at least {_ms(cycle_ns)}"
        )
    yield f"the router observes {_observed(simulation.observation)}"
    yield f"executor auto would choose {choose_executor(simulation).reason}"


def _observed(observation: Observation) -> str:
    if observation.is_instantaneous:
        return "the replicas' state at every decision (telemetry period 0): exact, and slowest to simulate"
    parts = []
    if observation.telemetry:
        parts.append(
            f"telemetry every {_ms(observation.period_ns)}, {_ms(observation.latency_ns)} old: windows of one period"
        )
    if observation.responses:
        parts.append("responses: it waits for the earliest that may come before each decision")
    if observation.reacts:
        parts.append("ends that cause new requests: replicas wait for the next one as well")
    return " and ".join(parts) or "nothing: it runs ahead to the end of the workload, bounded by memory"


def _ms(time_ns: int) -> str:
    return f"{time_ns / NS_PER_MS:.3f} ms"
