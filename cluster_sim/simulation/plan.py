"""A plan: everything about a study that is decided before time starts; plain data, the same on every machine."""

from dataclasses import dataclass, replace
from functools import partial

from cluster_sim.config.loading.error_context import inside
from cluster_sim.config.schema.fleet import Pool
from cluster_sim.config.schema.study import Study
from cluster_sim.engine.group import LinkDelays
from cluster_sim.engine.instant import NEVER, Instant, Kind, instant, time_of
from cluster_sim.errors import InputError
from cluster_sim.hardware.device import load_device
from cluster_sim.hardware.interconnect.transfer_path import FleetLinks
from cluster_sim.hardware.memory_plan import MemoryPlan, host_block_us, hybrid_block_size, plan_memory
from cluster_sim.hardware.model import load_model
from cluster_sim.hardware.power_cap import capped
from cluster_sim.hardware.predictors.pool_predictor import build_predictor, check_power_cap
from cluster_sim.hardware.predictors.predictor_interface import PREDICTORS, Predictor
from cluster_sim.hardware.replica_hardware import ReplicaHardware
from cluster_sim.metrics.encoder_figures import EncoderMetadata
from cluster_sim.metrics.run_metadata import PoolMetadata, RunMetadata
from cluster_sim.routing.encoding.options import EncoderOptions
from cluster_sim.routing.policy_interface import build_policy
from cluster_sim.serving.content_sampler import PREFIXES
from cluster_sim.serving.limits_resolution import scheduler_limits, sized_for_host
from cluster_sim.serving.lora import Lora
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.schedulers.data_parallel import build_scheduler
from cluster_sim.serving.schedulers.engine_options import ENGINES, EngineOptions
from cluster_sim.simulation.fleet_changes import changed_routers, with_upgraded_pools
from cluster_sim.simulation.fleet_checks import check_requested_adapters, check_requested_models
from cluster_sim.simulation.fleet_links import fleet_links, pool_topology
from cluster_sim.simulation.fleet_scaling import fleet_control
from cluster_sim.simulation.fleet_sites import link_delays, site_of
from cluster_sim.simulation.handover_plan import HandoverPlan, PoolOfPair, plan_handover, prefill_policy
from cluster_sim.simulation.hub_components import fault_plan, hub_components
from cluster_sim.simulation.kernel_choice import choose_kernel
from cluster_sim.simulation.model_names import default_model, distinct_names
from cluster_sim.simulation.parallelism import check_ranks, expert_sharding, rank_limits
from cluster_sim.simulation.pool_checks import check_engine
from cluster_sim.simulation.shared_store import kv_layout, store_link
from cluster_sim.simulation.simulation import ComponentFactory, SimulatedPool, Simulation
from cluster_sim.simulation.step_figures import step_figures
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.build import build_source, reacts, total_requests


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """One pool with everything resolved."""

    pool: Pool
    """The pool's settings, the engine's defaults filled in."""
    first_replica: int
    hardware: ReplicaHardware
    memory: MemoryPlan | None
    """None if the study fixes the number of KV blocks."""
    limits: SchedulerLimits
    delays: LinkDelays
    """The links between the router and each replica."""
    site: str = ""
    """Where the replicas stand; "" in a fleet without sites."""

    def predictor(self, study: Study) -> Predictor:
        """Build the pool's predictor; one serves every replica of the pool in a process."""
        device = capped(self.hardware.device, self.pool.power_cap_w)
        return build_predictor(study.predictor, replace(self.hardware, device=device))

    def simulated(
        self, predictor: Predictor, jitter_ratio: float = 0.0, *, has_step_figures: bool = False
    ) -> SimulatedPool:
        """Return what the pool's replicas are built from."""
        engine = self.pool.engine
        return SimulatedPool(
            name=self.pool.name,
            model=self.hardware.model.name,
            replicas=self.pool.replicas,
            first_replica=self.first_replica,
            limits=self.limits,
            predictor=predictor,
            scheduler=partial(build_scheduler, engine, self.limits),
            fills_batches=engine.fills_batches,
            jitter_ratio=jitter_ratio,
            delays=self.delays,
            role=self.pool.role or "",
            labels=dict(self.pool.labels),
            site=self.site,
            lora_slots=self.lora_slots,
            usd_per_hour=self.usd_per_hour,
            routes_ranks=self.pool.route_ranks,
            kv_layout=kv_layout(self.hardware),
            step_figures=step_figures(predictor, self.limits) if has_step_figures else None,
        )

    def of_pair(self, index: int) -> PoolOfPair:
        """Return what a hand-over must know of the pool; ``index`` is its number."""
        role, engine = self.pool.role or "", self.pool.engine
        return PoolOfPair(index, self.hardware.model.name, role, engine, self.hardware, self.limits)

    @property
    def lora_slots(self) -> int:
        """Adapters that a replica holds at once; 0 if it takes none."""
        lora = getattr(self.pool.engine, "lora", None)
        return lora.max_loras if isinstance(lora, Lora) else 0

    @property
    def usd_per_gpu_hour(self) -> float:
        """Price of one GPU for one hour."""
        own = self.pool.usd_per_gpu_hour
        return self.hardware.device.price_usd_per_hour if own is None else own

    @property
    def usd_per_hour(self) -> float:
        """Price of one replica for one hour."""
        return self.usd_per_gpu_hour * self.pool.gpus_per_replica

    def metadata(self, predictor: Predictor) -> PoolMetadata:
        """Return what summaries and metrics must know of the pool."""
        pool, limits, engine = self.pool, self.limits, self.pool.engine
        return PoolMetadata(
            name=pool.name,
            model=self.hardware.model.name,
            device=self.hardware.device.name,
            replicas=pool.replicas,
            gpus_per_replica=pool.gpus_per_replica,
            price_usd_per_gpu_hour=self.usd_per_gpu_hour,
            predictor_label=predictor.label,
            kv_blocks=limits.kv_blocks * limits.data_parallel,
            max_model_tokens=limits.max_model_len,
            block_size_tokens=limits.block_size,
            max_num_seqs=limits.max_num_seqs * limits.data_parallel,
            stages=pool.pipeline_parallel,
            ranks=pool.data_parallel,
            not_understood=self.hardware.model.not_understood,
            left_out=self.hardware.model.left_out,
            engine=pool.engine.kind,
            has_prefix_cache=engine.caches_prefixes,
            has_external_cache=limits.store is not None or bool(getattr(engine, "host_blocks", 0)),
            draft_tokens=engine.draft_tokens,
            max_loras=self.lora_slots,
            has_static_batches=ENGINES.get(pool.engine.kind).part.has_static_batches,
            predictor_choice=predictor.choice,
            error_band=predictor.error_band,
            role=pool.role or "",
            site=self.site,
            forward_link_ns=self.delays.forward_ns,
            return_link_ns=self.delays.return_ns,
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """A study resolved: pools, links, end."""

    study: Study
    """With the pools that changes during the run add."""
    pools: tuple[PoolPlan, ...]
    links: FleetLinks
    """What joins the replicas."""
    control: tuple[ComponentFactory, ...] = ()
    """Build what changes the fleet during the run, if anything does."""
    can_branch: bool = False
    """Whether the run may go on in several ways from some time on, so that it keeps what any of them might read."""

    @property
    def replicas(self) -> int:
        """Replicas of all pools; numbered consecutively in the order of the pools."""
        return sum(planned.pool.replicas for planned in self.pools)

    @property
    def models(self) -> list[str]:
        """Names of the models served, in the order of the pools."""
        return list(dict.fromkeys(planned.hardware.model.name for planned in self.pools))

    @property
    def run_end(self) -> Instant:
        """Where the run ends: nothing at or above it happens; NEVER when every request is served to its end."""
        end_s = self.study.run.end_s
        return NEVER if end_s is None else instant(round(end_s * NS_PER_S), Kind.RUN_END)

    @property
    def end_ns(self) -> int:
        """Time of the run's end in ns; -1 when every request is served to its end."""
        return time_of(self.run_end) if self.run_end < NEVER else -1

    @property
    def handover(self) -> HandoverPlan | None:
        """How requests pass from pool to pool; None if they do not."""
        return plan_handover(
            self.study, [planned.of_pair(index) for index, planned in enumerate(self.pools)], self.links
        )

    def in_full(self) -> "Plan":
        """Return the plan of a run in which every request is simulated, whatever detail the study asks for."""
        run = self.study.run.model_copy(update={"detail": "high"})
        return replace(self, study=self.study.model_copy(update={"run": run}))

    def simulation(self) -> Simulation:
        """Build the pools' predictors and return everything that the run's processes are built from.

        Raises InputError, which begins with the key at fault.
        """
        study, run = self.study, self.study.run
        if run.detail != "high":
            raise InputError(
                f"run.detail: {run.detail} has no requests and steps, which are needed here; leave it out, or set high"
            )
        predictors, faults = self._predictors(), fault_plan(study)
        handover = self.handover
        components = hub_components(study, can_branch=self.can_branch)
        if handover is not None:
            components += (handover.component,)
        routers = [study.router, *changed_routers(study)]
        reads_figures = self.can_branch or any(router.reads_step_figures for router in routers)
        simulation = Simulation(
            pools=tuple(
                pool.simulated(predictor, study.predictor.jitter_ratio, has_step_figures=reads_figures)
                for pool, predictor in zip(self.pools, predictors, strict=True)
            ),
            source=partial(build_source, study.workload, study.seed),
            policy=partial(build_policy, study.router),
            metadata=self._metadata(predictors),
            reacts=reacts(study.workload),
            total_requests=total_requests(study.workload),
            components=(*components, *self.control),
            prefill_policy=None if handover is None else prefill_policy(study.router),
            reports_chunks=handover is not None and handover.reports_chunks,
            timeline_of=faults.timeline_of if faults or self.can_branch else None,
            routers=study.router.replicas,
            links=self.links,
            split=dict(study.router.split),
            client_timeout_ns=study.router.client_timeout_ns,
            run_end=self.run_end,
            seed=study.seed,
            series_interval_ns=round(run.series_interval_s * NS_PER_S),
            stall_limit_ns=round(run.stall_limit_s * NS_PER_S),
            keeps_streams=run.event_trace,
        )
        is_tracked = self.can_branch or (len(routers) > 1 and simulation.observation.has_grid(PREFIXES))
        kernel = choose_kernel(run.kernel, simulation.pools)
        return replace(simulation, tracks_prefixes=is_tracked, kernel=kernel)

    def _predictors(self) -> list[Predictor]:
        predictors = []
        for index, pool in enumerate(self.pools):
            with inside("", Study.model_fields, "predictor"), inside(f"fleet.pools.{index}", Pool.model_fields, None):
                predictors.append(pool.predictor(self.study))
        return predictors

    def _metadata(self, predictors: list[Predictor]) -> RunMetadata:
        return RunMetadata(
            name=self.study.name,
            seed=self.study.seed,
            pools=tuple(pool.metadata(predictor) for pool, predictor in zip(self.pools, predictors, strict=True)),
            slo=self.study.slo,
            end_ns=self.end_ns,
            chosen_model=default_model(self.study.workload.model, self.models),
            has_faults=bool(self.study.faults),
            encoders=_encoders(self.study.fleet.encoders),
        )


def _encoders(options: EncoderOptions | None) -> EncoderMetadata | None:
    """Return what figures need to know of a study's encoders."""
    if options is None:
        return None
    prices = (options.gpus, options.usd_per_gpu_hour, options.idle_w, options.busy_w)
    return EncoderMetadata(options.instances, *prices)


def make_plan(study: Study, *, can_branch: bool = False) -> Plan:
    """Resolve a study; ``can_branch`` is that of the plan.

    Raises InputError, which begins with the key, if a model does not fit or settings contradict each other.
    """
    study, upgrades = with_upgraded_pools(study)
    pools: list[PoolPlan] = []
    first = 0
    names = distinct_names([pool.model for pool in study.fleet.pools])
    for index, (pool, delays) in enumerate(zip(study.fleet.pools, link_delays(study.fleet), strict=True)):
        with inside(f"fleet.pools.{index}", Pool.model_fields, "model"):
            planned = _plan_pool(study, pool, first, names[pool.model], delays)
        pools.append(replace(planned, site=site_of(study.fleet, pool)))
        first += pool.replicas
    check_requested_models(study, list(dict.fromkeys(planned.hardware.model.name for planned in pools)))
    check_requested_adapters(study, [planned.lora_slots for planned in pools])
    fault_plan(study)
    links = fleet_links(study.fleet, [planned.hardware.device for planned in pools])
    control = fleet_control(study, pools, upgrades, is_always_there=can_branch)
    plan = Plan(study, tuple(pools), links, control, can_branch)
    _ = plan.handover  # Wrong pairs are refused here, before anything is built.
    return plan


def pool_hardware(study: Study, pool: Pool, model_name: str = "") -> tuple[EngineOptions, ReplicaHardware]:
    """Return the engine of a pool with its defaults, and what its replicas run on; ``model_name`` renames the model.

    Raises InputError, which begins with a key of the pool, for files that cannot be read and settings that contradict
    each other.
    """
    check_power_cap(study.predictor, pool.power_cap_w)
    with inside("", (), "device"):
        device = load_device(pool.device)
    model = load_model(pool.model, allow_unknown=study.fleet.allow_unknown)
    model = model.model_copy(update={"name": model_name}) if model_name else model
    capped(device, pool.power_cap_w)
    check_ranks(pool, model)
    engine = pool.engine.resolved(device, model)
    settings = engine.hardware_settings(device)
    experts = expert_sharding(pool)
    degrees = (pool.tensor_parallel, pool.pipeline_parallel)
    hardware = ReplicaHardware(model, device, settings, *degrees, experts, pool_topology(pool, device))
    block_size = hybrid_block_size(hardware)
    if engine.keeps_states and block_size != engine.block_size:
        engine = engine.model_copy(update={"block_size": block_size})
        hardware = replace(hardware, engine=engine.hardware_settings(device))
    return engine, hardware


def _plan_pool(study: Study, pool: Pool, first_replica: int, model_name: str, delays: LinkDelays) -> PoolPlan:
    engine, hardware = pool_hardware(study, pool, model_name)
    model = hardware.model
    reads_hardware = PREDICTORS.chosen_by(study.predictor).part.reads_hardware
    check_engine(pool, engine, hardware, reads_hardware=reads_hardware)
    engine = sized_for_host(engine, hardware)
    if engine.needs_host_load_time:
        engine = engine.model_copy(update={"host_load_block_us": host_block_us(hardware)})
    memory = plan_memory(hardware) if engine.num_kv_blocks is None else None
    limits = scheduler_limits(
        engine,
        model,
        memory.kv_blocks if memory else 0,
        pool.pipeline_parallel,
        macro_steps=study.run.macro_steps,
        seed=study.seed,
        tensor_parallel=pool.tensor_parallel,
    )
    if study.fleet.kv_store is not None:
        limits = replace(limits, store=store_link(study.fleet.kv_store, engine, hardware, limits))
    resolved = pool.model_copy(update={"engine": engine})
    return PoolPlan(resolved, first_replica, hardware, memory, rank_limits(limits, pool.data_parallel), delays)
