"""Small random serving studies, and every way in which a test may run one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest import mock

from cluster_sim.config.schema.study import Study
from cluster_sim.hardware.device import load_device
from cluster_sim.hardware.model import load_model
from cluster_sim.options import BASE_DIRECTORY
from cluster_sim.routing.hub import RouterHub
from cluster_sim.serving.replica import Replica
from cluster_sim.serving.schedulers.engine_options import ENGINES
from cluster_sim.simulation.plan import Plan, make_plan
from cluster_sim.simulation.run_recorder import RunRecorder
from cluster_sim.simulation.simulation import Processes, Simulation
from cluster_sim.workload.request import NO_ATTRIBUTES, Attributes, Request
from tests.engine.changing_hub import Changer, Changes
from tests.engine.fewest_prefills import FewestPrefills
from tests.engine.in_memory import Choose, InMemoryExecutor, KeepingExecutor, RestoringExecutor
from tests.evidence import Evidence, evidence_of, plain_rows

MS = 1_000_000
FEWEST_PREFILLS = "fewest_prefills"


@dataclass(frozen=True)
class SmallFleet:
    """One study; times in ms, so that many instants coincide."""

    arrivals: tuple[tuple[float, int, int], ...] = ()
    """(ms, prompt tokens, output tokens) by request id; empty with ``users``."""
    users: int = 0
    think_ms: float = 1.0
    replicas: int = 1
    stages: int = 1
    engine: dict[str, Any] = field(default_factory=dict)
    predictor: dict[str, Any] = field(default_factory=lambda: {"kind": "linear", "alpha_us": 1000.0})
    policy: str = "round_robin"
    """One of the registry's, or ``fewest_prefills``."""
    period_ms: float = 50.0
    latency_ms: float = 1.0
    forward_ms: float = 0.0
    return_ms: float = 0.0
    end_ms: float | None = None
    timeout_ms: float = 0.0
    interval_ms: float = 10.0
    macro_steps: bool = True
    prefill_replicas: int = 0
    """Replicas of a pool that computes prompts for the others."""
    handover: dict[str, Any] | None = None
    parts: dict[str, Any] = field(default_factory=dict)
    """Further blocks of the study."""
    pool: dict[str, Any] = field(default_factory=dict)
    """Further keys of every pool."""
    changes: Changes | None = None
    is_varied: bool = False
    """Whether requests carry shared prompt content, priorities, tenants, deadlines and adapters."""

    def study(self) -> Study:
        """Return the study file's equivalent; ``arrivals`` stand outside it."""
        lengths = {
            "prompt": {"kind": "uniform", "min": 1, "max": 40},
            "output": {"kind": "uniform", "min": 1, "max": 9},
        }
        closed = {
            "kind": "closed_loop",
            "users": max(self.users, 1),
            "count": 4 * max(self.users, 1),
            "lengths": lengths,
            "think_time_s": {"kind": "fixed", "value": self.think_ms / 1e3},
            "think_floor_ms": self.think_ms,
        }
        listed = {
            "kind": "synthetic",
            "count": 4,
            "arrivals": {"kind": "poisson", "request_rate": 1},
            "lengths": lengths,
        }
        document = {
            "seed": 7,
            "workload": closed if self.users else listed,
            "fleet": {
                "pools": self._pools(),
                "handover": self.handover,
                "network": {"router_to_replica_ms": self.forward_ms, "replica_to_router_ms": self.return_ms},
            },
            "router": {
                "policy": "least_outstanding" if self.policy == FEWEST_PREFILLS else self.policy,
                "telemetry": {"period_ms": self.period_ms, "latency_ms": self.latency_ms},
                "client_timeout_s": self.timeout_ms / 1e3 or None,
            },
            "predictor": self.predictor,
            "run": {
                "macro_steps": self.macro_steps,
                "series_interval_s": self.interval_ms / 1e3,
                "end_s": None if self.end_ms is None else self.end_ms / 1e3,
            },
        }
        return Study.model_validate(document | self.parts, context={BASE_DIRECTORY: Path.cwd()})

    def _pools(self) -> list[dict[str, Any]]:
        pool = {
            "model": "llama-3-8b",
            "device": "h100-sxm",
            "replicas": self.replicas,
            "pipeline_parallel": self.stages,
            "engine": {"num_kv_blocks": 1000, "max_num_seqs": 8, "max_num_batched_tokens": 512} | self.engine,
        } | self.pool
        if not self.prefill_replicas:
            return [pool]
        prefill = {"name": "prefill", "role": "prefill", "replicas": self.prefill_replicas}
        return [pool | prefill, pool | {"name": "decode", "role": "decode"}]

    def requests(self) -> list[Request]:
        """Return the requests of an open-loop study."""
        return [
            Request(number, round(at_ms * MS), prompt, output, attributes_of(number, prompt, self.is_varied))
            for number, (at_ms, prompt, output) in enumerate(self.arrivals)
        ]


def attributes_of(number: int, prompt_tokens: int, is_varied: bool) -> Attributes:
    """Return what request ``number`` carries: every third request begins like the one three before."""
    if not is_varied:
        return NO_ATTRIBUTES
    shared = max(1, prompt_tokens * (1 + number % 4) // 4)
    segments: tuple[tuple[int, int], ...] = ((number % 3, shared),)
    if shared < prompt_tokens:
        segments += ((1000 + number, prompt_tokens - shared),)
    return Attributes(
        session_id=number % 5 - 1,
        tenant="ab"[number % 2],
        priority=number * 5 % 3,
        deadline_ns=number * 7 * MS if number % 4 else -1,
        lora=("", "x", "y", "z")[number % 4],
        segments=segments,
        output_segment=2000 + number,
        length_hint_tokens=number % 6 - 1,
    )


class Listed:
    """A source of given requests, in small chunks."""

    def __init__(self, requests: Sequence[Request]) -> None:
        self._requests = list(requests)

    def chunks(self) -> Iterator[list[Request]]:
        for first in range(0, len(self._requests), 3):
            yield self._requests[first : first + 3]


class Users:
    """Users who send again some time after an end, four times each; ids are user + turn * users."""

    TURNS = 4

    def __init__(self, users: int, think_ns: int, is_varied: bool = False) -> None:
        self._users = users
        self._is_varied = is_varied
        self.think_floor_ns = think_ns

    def initial(self) -> Iterator[list[Request]]:
        yield [self._request(user, user * 3 * MS) for user in range(self._users)]

    def on_end(self, request: Request, at_ns: int, status: str) -> list[Request]:  # noqa: ARG002 - the contract
        following = request.request_id + self._users
        if following >= self.TURNS * self._users:
            return []
        return [self._request(following, at_ns + self.think_floor_ns * (1 + following % 2))]

    def _request(self, request_id: int, at_ns: int) -> Request:
        prompt = 1 + request_id * 17 % 40
        return Request(
            request_id, at_ns, prompt, 1 + request_id * 7 % 9, attributes_of(request_id, prompt, self._is_varied)
        )


@dataclass
class Run:
    """The processes of one run, before it starts or after it has ended."""

    plan: Plan
    simulation: Simulation
    processes: Processes
    recorder: RunRecorder

    @property
    def hub(self) -> RouterHub:
        """The router."""
        return self.processes.hub

    @property
    def replicas(self) -> list[Replica]:
        """The replicas by index."""
        return self.processes.replicas

    @property
    def rows(self) -> list[tuple[int, ...]]:
        """The rows that the hub has written."""
        return [row for block in self.recorder.rows or [] for row in plain_rows(block)]


_device, _model = cache(load_device), cache(load_model)


def plan_of(small: SmallFleet) -> Plan:
    """Return the plan of a small fleet."""
    with mock.patch.multiple("cluster_sim.simulation.plan", load_device=_device, load_model=_model):
        return make_plan(small.study())


def simulation_of(small: SmallFleet, plan: Plan | None = None) -> Simulation:
    """Return the simulation of a small fleet, with its own source of requests."""

    def source() -> Any:
        if small.users:
            return Users(small.users, round(small.think_ms * MS), small.is_varied)
        return Listed(small.requests())

    simulation = replace((plan or plan_of(small)).simulation(), source=source, keeps_rows=True)
    if small.policy == FEWEST_PREFILLS:
        simulation = replace(simulation, policy=partial(FewestPrefills, small.study().router))
    if small.changes is not None:
        changer = partial(Changer, small.changes, round(small.return_ms * MS))
        timeline_of = small.changes.timeline_of if small.changes.crashes else None
        simulation = replace(simulation, components=(lambda _simulation: changer(),), timeline_of=timeline_of)
    return simulation


def prepare(small: SmallFleet) -> Run:
    """Build the processes of a study without running it."""
    plan = plan_of(small)
    simulation = simulation_of(small, plan)
    recorder = RunRecorder(simulation.metadata, keeps_rows=True)
    return Run(plan, simulation, simulation.build_processes(recorder.log), recorder)


def run_inline(small: SmallFleet) -> tuple[Evidence, Processes]:
    """Run with all replicas in one group, called directly; return the processes, too."""
    executor = KeepingExecutor()
    return evidence_of(executor, simulation_of(small)), executor.processes


def run_apart(small: SmallFleet, placement: Sequence[Sequence[int]], choose: Choose) -> Evidence:
    """Run with replicas in several groups behind frames that random delays reorder."""
    return evidence_of(InMemoryExecutor(placement, choose), simulation_of(small))


def run_with_restores(small: SmallFleet, choose: Choose) -> Evidence:
    """Run with snapshots taken and restored at random window edges."""
    return evidence_of(RestoringExecutor(choose), simulation_of(small))


ORDERS = (
    "fcfs",
    "fcfs",
    "priority",
    "priority_aging",
    "sjf",
    "predicted_sjf",
    "edf",
    "lrs",
    "lpm",
    "dfs_weight",
    "vtc",
)


def draw_placement(replicas: int, choose: Choose) -> list[list[int]]:
    """Return replicas thrown into up to four groups."""
    bins: list[list[int]] = [[] for _ in range(1 + choose(min(replicas, 4)))]
    for replica in range(replicas):
        bins[choose(len(bins))].append(replica)
    return [members for members in bins if members]


def draw_fleet(choose: Choose) -> SmallFleet:
    """Return a random small study."""
    replicas = 1 + choose(5)
    stages = (1, 1, 1, 2, 4)[choose(5)]
    block = (1, 8, 16)[choose(3)]
    budget = (4, 16, 64, 512)[choose(4)]
    engine: dict[str, Any] = {
        "block_size": block,
        "max_num_seqs": min((1, 2, 4, 8)[choose(4)], budget),
        "max_num_batched_tokens": budget,
        "async_scheduling": bool(choose(2)),
        "reserve_full_sequence": bool(choose(2)),
        "watermark_ratio": (0.0, 0.0, 0.1)[choose(3)],
        "long_prefill_token_threshold": (0, 0, 3)[choose(3)],
        # A request of 40 prompt and 24 output tokens is the longest; a tiny pool holds little more than one.
        "num_kv_blocks": 1 + (64 // block) * (1, 1, 2, 3, 40)[choose(5)] + choose(3),
        "policy": ("fcfs", "fcfs", "fcfs", "priority")[choose(4)],
        "enable_prefix_caching": False,
    }
    longest_prompt, longest_output = (1, 8, 40)[choose(3)], (1, 4, 24)[choose(3)]
    is_pressed = not choose(4)
    if is_pressed:  # Short prompts that grow far beyond the cache: preemptions.
        engine |= {"num_kv_blocks": 1 + 64 // block, "max_num_seqs": 4, "reserve_full_sequence": False}
        longest_prompt, longest_output, replicas = 8, 24, 1 + choose(2)
    if not choose(5):
        engine |= {"enable_chunked_prefill": False, "max_num_batched_tokens": 512, "max_model_len": 512}
    predictor: dict[str, Any] = {"kind": "linear", "alpha_us": (500.0, 1000.0, 4000.0, 100.5)[choose(4)]}
    if choose(2):
        predictor |= {"beta_us": (250.0, 7.3)[choose(2)], "gamma_us": (125.0, 0.37)[choose(2)]}
    if not choose(4):
        predictor |= {"frontend_us": 1000.0, "frontend_us_per_token": 125.0}
    if not choose(4):
        predictor |= {"prefill_us": 2000.0, "prefill_pair_us": 1.5}
    grain = (0.0, 1.0, 1.0, 5.0, 0.37)[choose(5)]
    at = 0.0
    arrivals = []
    for _ in range(choose(30)):
        at += grain * choose(4)
        arrivals.append((at, 1 + choose(longest_prompt), 1 + choose(longest_output)))
    policies = ("round_robin", "random", "least_outstanding", "least_outstanding", "least_loaded", "least_loaded")
    policy = (*policies, FEWEST_PREFILLS)[choose(7)]
    is_closed = not is_pressed and not choose(4)
    period_ms, latency_ms = ((0, 0), (0, 0), (1, 0), (5, 0), (5, 1), (5, 7), (50, 1), (0.5, 0.25))[choose(8)]
    return SmallFleet(
        arrivals=() if is_closed else tuple(arrivals),
        users=1 + choose(6) if is_closed else 0,
        think_ms=(1.0, 1e-6, 7.0)[choose(3)],
        replicas=replicas,
        stages=stages,
        engine=engine,
        predictor=predictor,
        policy=policy,
        period_ms=period_ms,
        latency_ms=latency_ms,
        forward_ms=float((0, 0, 1, 3, 7, 0.5)[choose(6)]),
        return_ms=float((0, 0, 1, 2, 7, 0.5)[choose(6)]),
        end_ms=(None, None, 1.0 + choose(60))[choose(3)],
        timeout_ms=(0.0, 0.0, 0.0, 1.0 + choose(40))[choose(4)],
        interval_ms=(10.0, 1.0, 0.0)[choose(3)],
    )


def draw_changing_fleet(choose: Choose) -> SmallFleet:
    """Return a random small study whose replicas join, leave and crash."""
    small = draw_fleet(choose)
    small = replace(small, engine=small.engine | {"num_kv_blocks": max(small.engine["num_kv_blocks"], 70)})
    crashes = []
    for replica in range(small.replicas + 2):
        at = 0.0
        for _ in range(choose(3)):
            at += (0.0, 1.0, 5.0, 7.37)[choose(4)] + choose(9)
            restart = at + (1.0, 0.5, 4.0, 20.0)[choose(4)]
            crashes.append((replica, at, restart))
            at = restart
    changes = Changes(
        joins=tuple(float(choose(30)) for _ in range(choose(3))),
        leaves=tuple((float(choose(40)), choose(small.replicas + 2)) for _ in range(choose(3))),
        crashes=tuple(crashes) if choose(3) else (),
        warm_ms=float(choose(4)),
        backoff_ms=(0.0, 0.5, 3.0)[choose(3)],
        period_ms=(0.0, 1.0, 5.0, 3.3)[choose(4)],
        latency_ms=(0.0, 0.0, 1.0)[choose(3)],
    )
    return replace(small, changes=changes)


def draw_scaled_fleet(choose: Choose) -> SmallFleet:
    """Return a random small study with a scaler and a queue at the router, of the simulator's own."""
    small = draw_fleet(choose)
    metrics = [{"metric": ("in_flight", "running", "waiting")[choose(3)], "target": 1 + choose(2)}]
    scaler = {"metrics": metrics, "sync_period_s": (0.003, 0.01)[choose(2)], "max_replicas": 6, "kind": "hpa"}
    scaler |= {"sample_period_s": (0.001, 0.005)[choose(2)], "sample_latency_s": (0.0, 0.002)[choose(2)]}
    parts: dict[str, Any] = {"autoscaler": scaler}
    if choose(2):
        parts["admission"] = {"detector": {"kind": "concurrency", "max_requests": 1 + choose(3)}}
    start = {"process_s": choose(5) / 1e3, "compile_s": 0, "warmup_s": 0, "weights_gb_per_s": 1e4}
    return replace(small, parts=parts, pool={"cold_start": start, "drain_grace_s": choose(6) / 1e3})


CONNECTORS = {"nixl": "vllm_v1", "layerwise": "vllm_v1", "sglang": "sglang", "tensorrt_llm": "tensorrt_llm"}
"""The engine that each hands over for."""


def draw_handover_fleet(choose: Choose) -> SmallFleet:
    """Return a random small study with prompts computed by other replicas; some combinations are refused."""
    small = draw_fleet(choose)
    connector = sorted(CONNECTORS)[choose(len(CONNECTORS))]
    kind = CONNECTORS[connector]
    engine = small.engine | {"kind": kind, "enable_chunked_prefill": True, "long_prefill_token_threshold": 0}
    engine["num_kv_blocks"] += 128 // engine["block_size"]
    if kind != "vllm_v1":
        engine |= {"async_scheduling": False, "policy": "fcfs", "max_num_batched_tokens": 128}
    deciders = ({"kind": "always"}, {"kind": "always"}, {"kind": "prompt_length", "least_tokens": 5})
    handover = {
        "connector": connector,
        "decider": deciders[choose(3)],
        "latency_us": (0.0, 30.0, 1000.0)[choose(3)],
    }
    if choose(3) == 0:
        handover["hold_timeout_s"] = 0.02
    policies = ("round_robin", "random", "least_outstanding", "least_loaded")
    return replace(
        small,
        engine=engine,
        stages=1,
        replicas=1 + choose(3),
        prefill_replicas=1 + choose(2),
        handover=handover,
        policy=policies[choose(4)],
    )


def draw_varied_fleet(choose: Choose) -> SmallFleet:
    """Return a random small study with any engine and any of its features; some combinations are refused."""
    small = draw_fleet(choose)
    kinds = ("vllm_v1", "vllm_v1", "vllm_v1", "sglang", "sglang", *ENGINES.names())
    kind = kinds[choose(len(kinds))]
    engine = small.engine | {"kind": kind, "enable_prefix_caching": bool(choose(2))}
    engine["policy"] = ORDERS[choose(len(ORDERS))]
    if kind == "lightllm":
        engine["block_size"] = 1
    if kind not in {"vllm_v1", "sglang"}:
        engine |= {"max_model_len": 64, "max_num_batched_tokens": 128, "enable_chunked_prefill": True}
        engine["enable_prefix_caching"] = False
    if kind == "static_two_phase":
        engine |= {"adaptive_batch_size": bool(choose(2))}
        if small.users or choose(2):  # Users would wait for each other for ever.
            engine["batch_timeout_s"] = (0.0, 0.003)[choose(2)]
    if kind == "sglang":
        engine["enable_mixed_chunk"] = bool(choose(2))
        if engine["enable_prefix_caching"] and choose(2):
            engine |= {
                "hicache_ratio": (1.2, 3.0)[choose(2)],
                "hicache_write_policy": ("write_through", "write_through_selective", "write_back")[choose(3)],
                "hicache_load_back_tokens": 1,
                "host_load_block_us": (0.0, 700.0)[choose(2)],
            }
    if kind in {"vllm_v1", "sglang"} and choose(2):
        engine["ordering"] = {"long_prompt_tokens": 4}
    if kind == "vllm_v1" and not choose(3):
        engine["speculative"] = {
            "num_speculative_tokens": 1 + choose(3),
            "acceptance": [0.6],
            "draft_ms": choose(2) * 0.3,
        }
    if kind == "vllm_v1" and not choose(4):
        engine["lora"] = {"max_loras": 1 + choose(3), "load_ms": float(choose(3))}
    if kind == "vllm_v0":
        engine["preemption_mode"] = ("recompute", "swap")[choose(2)]
    if kind != "vllm_v1":
        engine["async_scheduling"] = False
    engine["capacity_policy"] = ("guaranteed_no_evict", "max_utilization")[choose(2)]
    jitter = {"jitter_ratio": (0.0, 0.0, 0.2)[choose(3)]}
    return replace(small, engine=engine, predictor=small.predictor | jitter, is_varied=bool(choose(3)))


def single_stepped(small: SmallFleet) -> SmallFleet:
    """Return the same study without macro-steps."""
    return replace(small, macro_steps=False)
