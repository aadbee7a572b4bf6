"""Builds the processes of a plan: the hub, the replicas, and what the coordinator must know of their links."""

from cluster_sim.config.loading.error_context import inside
from cluster_sim.config.schema.fleet import Pool
from cluster_sim.config.schema.study import Study
from cluster_sim.engine.coordinator import ProcessLink
from cluster_sim.engine.group import Wiring
from cluster_sim.engine.instant import NEVER
from cluster_sim.engine.observation import Observation
from cluster_sim.errors import InputError
from cluster_sim.hardware.jitter import Jitter
from cluster_sim.hardware.predictors.base import Predictor
from cluster_sim.recording.replica_log import ReplicaLog, pending_limit
from cluster_sim.recording.request_log import RequestLog
from cluster_sim.routing.admission import StaticLimits, strictest
from cluster_sim.routing.hub import Route, RouterHub, Target, observed_by
from cluster_sim.routing.policies import POLICIES, Candidates
from cluster_sim.serving.data_parallel import build_scheduler
from cluster_sim.serving.engine_kinds import fills_batches
from cluster_sim.serving.replica import Replica, ReplicaSettings, floor_model
from cluster_sim.simulation.parallelism import replica_limits
from cluster_sim.simulation.plan import Plan, telemetry_settings
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.build import build_source, reacts


def build_predictors(plan: Plan) -> list[Predictor]:
    """Return one predictor per pool, shared by every replica of the pool in this process.

    Raises InputError that begins with the key at fault.
    """
    predictors = []
    for index, each in enumerate(plan.pools):
        with inside("", Study.model_fields, "predictor"), inside(f"fleet.pools.{index}", Pool.model_fields, None):
            predictors.append(each.predictor(plan.study))
    return predictors


def build_replica(
    plan: Plan, index: int, predictors: list[Predictor], observation: Observation, *, is_streamed: bool = False
) -> Replica:
    """Build replica ``index`` for a hub that observes ``observation``."""
    pool = plan.pool_index(index)
    pool_plan, predictor = plan.pools[pool], predictors[pool]
    interval_ns = round(plan.study.run.series_interval_s * NS_PER_S)
    settings = ReplicaSettings(
        index=index,
        limits=replica_limits(pool_plan.limits),
        return_ns=plan.wiring.return_ns,
        series_interval_ns=interval_ns,
        recall_ns=sum(plan.wiring) if plan.study.router.client_timeout_s else None,
        stall_limit_ns=round(plan.study.run.stall_limit_s * NS_PER_S),
        jitters=_jitters(plan, index, predictor),
        **telemetry_settings(observation),
    )
    scheduler = build_scheduler(pool_plan.pool.engine, pool_plan.limits)
    log = ReplicaLog(interval_ns, predictor.stages, pending_limit(plan.replicas))
    return Replica(settings, scheduler, predictor, log, is_streamed=is_streamed)


def _jitters(plan: Plan, index: int, predictor: Predictor) -> tuple[Jitter, ...]:
    """Return the noise of each stage of replica ``index``, or nothing where the study has none."""
    ratio, seed = plan.study.predictor.jitter_ratio, plan.study.seed
    if not ratio:
        return ()
    return tuple(Jitter(ratio, seed, index, stage, predictor.floor_ns(stage)) for stage in range(predictor.stages))


def build_hub(plan: Plan, log: RequestLog) -> RouterHub:
    """Build the hub: the workload, one route per model, the books."""
    study = plan.study
    check_feedback(plan)
    source = build_source(study.workload, study.seed)
    return RouterHub(source, build_routes(plan), log, study.router.client_timeout_ns, plan.run_end)


def build_routes(plan: Plan) -> dict[str, Route]:
    """Return the route of each model by its name, and under "" the one of requests that name none."""
    study = plan.study
    routes: dict[str, Route] = {}
    models = list(dict.fromkeys(each.model.name for each in plan.pools))
    for model in models:
        pools = [each for each in plan.pools if each.model.name == model]
        targets = [
            Target(replica + 1, each.pool.name, plan.wiring.forward_ns, fills_batches(each.pool.engine))
            for each in pools
            for replica in range(each.first_replica, each.first_replica + each.pool.replicas)
        ]
        limits = strictest(
            StaticLimits(
                each.limits.max_model_len,
                each.limits.context_blocks,
                each.limits.block_size,
                each.limits.tokens_per_step,
            )
            for each in pools
        )
        candidates = Candidates(len(targets), study.seed, [target.forward_ns for target in targets])
        routes[model] = Route(POLICIES.build(study.router, candidates), targets, limits)
    routes[""] = routes[models[0]]
    return routes


def observation_of(plan: Plan) -> Observation:
    """Return what the hub of a plan will observe, without reading the workload: it decides how far the hub may run
    ahead of the replicas.
    """
    check_feedback(plan)
    study = plan.study
    times_out = bool(study.router.client_timeout_ns)
    return observed_by(build_routes(plan), reacts=reacts(study.workload), times_out=times_out)


def check_feedback(plan: Plan) -> None:
    """Refuse batches that wait to be full where requests wait for earlier ones to end; raises InputError."""
    if not reacts(plan.study.workload):
        return
    for index, each in enumerate(plan.pools):
        if fills_batches(each.pool.engine) and plan.run_end >= NEVER:
            raise InputError(
                f"fleet.pools.{index}.engine.batch_timeout_s: null waits for {each.limits.max_num_seqs} requests, but "
                "this workload sends requests when earlier ones have ended, so both could wait for ever; set "
                "batch_timeout_s, or run.end_s"
            )


def process_links(plan: Plan, predictors: list[Predictor], groups: list[int]) -> list[ProcessLink]:
    """Return what the coordinator must know of every replica, ``groups`` naming the group of each.

    Raises InputError where the cycle router - replica - router has no delay: time could not advance.
    """
    floors = [floor_model(predictor, each.limits) for predictor, each in zip(predictors, plan.pools, strict=True)]
    for each, floor in zip(plan.pools, floors, strict=True):
        if plan.wiring.forward_ns + floor.traversal_ns + plan.wiring.return_ns <= 0:
            raise InputError(
                f"fleet.network: links of 0 ms and steps of pool {each.pool.name!r} without a least duration make a "
                "cycle without delay; give a link a delay, or use a predictor whose steps take time"
            )
    return [
        ProcessLink(replica + 1, groups[replica], plan.wiring, floors[plan.pool_index(replica)])
        for replica in range(plan.replicas)
    ]


def wirings(plan: Plan) -> dict[int, Wiring]:
    """Return the links of every replica by source number."""
    return {replica + 1: plan.wiring for replica in range(plan.replicas)}
