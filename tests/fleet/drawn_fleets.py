"""Random small studies of whole services: pools, sites, models, policies, and whatever else a fleet may have."""

from random import Random
from typing import Any

from cluster_sim.routing.policy_interface import ROUTING_POLICIES
from tests.routing.endpoint_picker.test_fleets import FLEETS

DEVICES = ("h100-sxm", "a100-80gb", "h200")
MODELS = ("llama-3-8b", "qwen3-4b")
ENGINES = ("vllm_v1", "sglang", "tensorrt_llm", "vllm_v0", "sarathi")

Block = dict[str, Any]


def draw_study(random: Random) -> Block:
    """Return the parts of a study, small enough to run in a moment."""
    models = random.sample(MODELS, random.choice((1, 1, 2)))
    sites = draw_sites(random) if random.random() < 0.3 else None
    pools = [pool for model in models for pool in draw_pools(random, model, sites)]
    fleet: Block = {
        "pools": pools,
        "network": {"router_to_replica_ms": draw_link_ms(random), "replica_to_router_ms": draw_link_ms(random)},
    }
    if sites:
        fleet["sites"] = sites
    run: Block = {"series_interval_s": random.choice((0, 0.3, 1.0))}
    if random.random() < 0.2:
        run["end_s"] = random.choice((0.7, 2.5))
    router = draw_router(random, pools)
    more: Block = {}
    if random.random() < 0.3:
        more["autoscaler"] = draw_autoscaler(random)
        for pool in pools:
            draw_life(random, pool)
    elif random.random() < 0.3:
        run["changes"] = draw_changes(random, pools)
        for pool in pools:
            draw_life(random, pool)
    if random.random() < 0.45:
        more["faults"] = draw_faults(random, pools)
    if random.random() < 0.45:
        router |= draw_recovery(random)
    if any(pool.get("role") == "prefill" for pool in pools) and random.random() < 0.5:
        handover = draw_handover(random, pools)
        if len({pool["engine"]["kind"] for pool in pools if pool.get("role") in ("prefill", "decode")}) == 1:
            fleet["handover"] = handover  # Pools of several engines each have the connector of their own.
    if random.random() < 0.35:
        more["admission"] = draw_admission(random, router["telemetry"])
    study: Block = more | {
        "name": "drawn",
        "seed": random.randrange(1000),
        "workload": draw_workload(random, models),
        "fleet": fleet,
        "router": router,
        "predictor": {"kind": "roofline", "jitter_ratio": random.choice((0.0, 0.0, 0.05))},
        "run": run,
    }
    if random.random() < 0.15:
        add_media(random, study)
    return study


def add_media(random: Random, study: Block) -> None:
    """Let some requests carry media, which encoders apart may encode."""
    workload = study["workload"]
    for part in workload.get("parts", [workload]):
        part["traits"]["multimodal"] = {
            "probability": 0.6,
            "items": {"kind": "uniform", "min": 1, "max": 3},
            "tokens_per_item": {"kind": "fixed", "value": 80},
        }
    if random.random() < 0.7:
        study["fleet"]["encoders"] = {
            "instances": random.choice((1, 2)),
            "tokens_per_s": random.choice((500, 4000)),
            "overhead_ms": random.choice((0, 5.5)),
            "transfer_ms": random.choice((0, 2)),
        }


def draw_link_ms(random: Random) -> float:
    """Return the latency of a link; 0 is legal."""
    return random.choice((0.0, 0.1, 0.5, 3.0))


def draw_sites(random: Random) -> Block:
    """Return two sites with their latency."""
    return {"router": "west", "routes": [{"between": "west - east", "latency_ms": random.choice((1.0, 20.0))}]}


def draw_pools(random: Random, model: str, sites: Block | None) -> list[Block]:
    """Return the pools of one model."""
    kind = random.choice(ENGINES)
    is_apart = kind in ("vllm_v1", "sglang", "tensorrt_llm") and random.random() < 0.35
    roles = ["prefill", "decode"] if is_apart else ["both"] * random.choice((1, 1, 2))
    if is_apart and random.random() < 0.2:
        roles.append("both")
    pools = []
    for index, role in enumerate(roles):
        engine: Block = {"kind": kind, "num_kv_blocks": random.choice((220, 400, 900)), "max_model_len": 3000}
        if kind in ("vllm_v1", "sglang"):
            engine["enable_prefix_caching"] = random.random() < 0.7
        if random.random() < 0.5:
            engine["max_num_seqs"] = random.choice((4, 16))
        pool: Block = {
            "name": f"{model[:4]}-{index}",
            "model": model,
            "device": random.choice(DEVICES),
            "replicas": random.choice((1, 2, 3)),
            "engine": engine,
        }
        if role != "both" or random.random() < 0.3:
            pool["role"] = role
        if random.random() < 0.4:
            pool["labels"] = {"tier": random.choice(("gold", "silver"))}
        if sites and random.random() < 0.5:
            pool["site"] = random.choice(("west", "east"))
        pools.append(pool)
    if is_apart:
        pools[1]["engine"] = dict(pools[0]["engine"])
    return pools


def draw_workload(random: Random, models: list[str]) -> Block:
    """Return a workload that names the models."""
    parts = [draw_part(random, model if len(models) > 1 else "") for model in models]
    return parts[0] if len(parts) == 1 else {"kind": "mix", "parts": parts}


def draw_part(random: Random, model: str) -> Block:
    """Return the requests of one model."""
    traits: Block = {"priority": random.choice((0, 0, -1, 1)), "tenant": random.choice(("", "acme"))}
    if model:
        traits["model"] = model
    if random.random() < 0.5:
        traits["prefix"] = {"levels": [{"count": random.choice((1, 3)), "tokens": random.choice((64, 300))}]}
    lengths = {
        "prompt": {"kind": "lognormal", "mean": 300, "std": 300, "min": 2, "max": 1500},
        "output": {"kind": "lognormal", "mean": 25, "std": 25, "min": 1, "max": 120},
    }
    arrivals = {"kind": "poisson", "request_rate": random.choice((5, 20, 60))}
    kind = random.choice(("synthetic", "synthetic", "closed_loop", "sessions"))
    if kind == "closed_loop":
        return {
            "kind": kind,
            "count": 40,
            "users": random.choice((2, 6)),
            "lengths": lengths,
            "think_time_s": {"kind": "exponential", "mean": 0.2},
            "traits": traits,
        }
    if kind == "sessions":
        return {
            "kind": kind,
            "count": 10,
            "turns": {"kind": "uniform", "min": 1, "max": 5},
            "think_time_s": {"kind": "exponential", "mean": 0.3},
            "arrivals": arrivals,
            "lengths": lengths,
            "traits": traits,
        }
    return {"kind": kind, "count": 45, "arrivals": arrivals, "lengths": lengths, "traits": traits}


def draw_router(random: Random, pools: list[Block]) -> Block:
    """Return the router with any of the policies."""
    policy = random.choice(ROUTING_POLICIES.names())
    router: Block = {
        "policy": policy,
        "telemetry": dict(zip(("period_ms", "latency_ms"), random.choice(((50, 1), (7, 0), (400, 90))), strict=True)),
        "ties": random.choice(("random", "first")),
    }
    if random.random() < 0.3:
        router["client_timeout_s"] = random.choice((0.3, 1.5))
    if random.random() < 0.2:
        router["replicas"] = random.choice((2, 3))
    if policy == "endpoint_picker":
        router["config"] = random.choice(tuple(FLEETS.values()))
        router["kv_events"] = {"period_ms": random.choice((1, 10, 100)), "latency_ms": random.choice((0, 1, 20))}
    if policy == "weighted":
        router["weights"] = {pool["name"]: 1.0 + index for index, pool in enumerate(pools)}
    return router


def draw_admission(random: Random, telemetry: Block) -> Block:
    """Return flow control that acts at the small loads of these studies."""
    detector = random.choice(
        (
            {"kind": "concurrency", "max_requests": random.choice((2, 5)), "headroom_ratio": random.choice((0.0, 0.5))},
            {"kind": "total_concurrency", "max_requests": random.choice((3, 9))},
            {"kind": "utilization", "queue_depth_threshold": 1, "stale_after_ms": 1e6} | telemetry,
        )
    )
    queue: Block = {}
    if random.random() < 0.5:
        queue["time_to_live_s"] = random.choice((0.05, 0.5))
    if random.random() < 0.4:
        queue["max_requests"] = random.choice((1, 8))
    admission: Block = {
        "detector": detector,
        "queue": queue,
        "flow_by": random.choice(("tenant", "session", "none")),
        "ordering": {"kind": random.choice(("fcfs", "edf", "slo_deadline"))},
        "fairness": {"kind": random.choice(("round_robin", "global_strict"))},
    }
    if random.random() < 0.4:
        admission["shedders"] = [{"kind": random.choice(("sheddable", "probabilistic", "slo_aware"))}]
    if random.random() < 0.3:
        admission["rate_limits"] = [{"requests_per_s": 15, "burst_requests": 3}]
    return admission


def draw_life(random: Random, pool: Block) -> None:
    """Let replicas of a pool start and drain within the length of these studies."""
    pool["cold_start"] = {
        "process_s": random.choice((0.0, 0.2)),
        "compile_s": 0,
        "warmup_s": 0,
        "weights_gb_per_s": 1000,
    }
    pool["drain_grace_s"] = random.choice((0.05, 0.4, 5.0))


def draw_autoscaler(random: Random) -> Block:
    """Return a scaler that acts within the length of these studies."""
    bounds = {"min_replicas": random.choice((0, 1, 1)), "max_replicas": random.choice((3, 5))}
    sampled = {"sample_period_s": random.choice((0.2, 0.5)), "sample_latency_s": random.choice((0.0, 0.03))}
    common = bounds | sampled | {"victim": random.choice(("youngest", "oldest", "least_outstanding"))}
    direction = {
        "stabilization_s": random.choice((0.0, 0.4)),
        "policies": [{"kind": "percent", "value": 100, "period_s": 0.3}],
    }
    steps = {"sync_period_s": 0.25, "scale_up": direction, "scale_down": direction}
    metric = random.choice(
        (
            {"metric": "in_flight", "target": 2},
            {"metric": "queued", "target": 1},
            {"metric": "waiting", "target": 1},
            {"metric": "kv_used_ratio", "target": 0.2},
            {"metric": "requests_per_s", "target": 4},
        )
    )
    kinds: tuple[Block, ...] = (
        {"kind": "hpa", "metrics": [metric]} | steps,
        {"kind": "keda", "triggers": [metric], "polling_interval_s": 0.2, "cooldown_s": 0.5} | steps,
        {
            "kind": "knative",
            "target": 3.0,
            "stable_window_s": 1.0,
            "panic_window_s": 0.2,
            "tick_s": 0.1,
            "zero_grace_s": 0.3,
        },
        {"kind": "ray_serve", "metrics_interval_s": 0.1, "look_back_period_s": 0.3, "upscale_delay_s": 0.1}
        | {"downscale_delay_s": 0.3},
        {"kind": "llm_d_variant", "interval_s": 0.3, "queue_threshold": 1.0, "retention_s": 1.0},
        {"kind": "schedule", "entries": [{"at_s": 0.3, "replicas": 3}, {"at_s": 1.0, "replicas": 1}], "period_s": 1.5},
    )
    return random.choice(kinds) | common


def draw_changes(random: Random, pools: list[Block]) -> list[Block]:
    """Return changes of the study at times of the run."""
    changes = []
    for at_s in sorted(random.sample((0.1, 0.4, 0.9, 1.6), random.choice((1, 2)))):
        name = random.choice(pools)["name"]
        values = random.choice(
            (
                {f"fleet.pools.{name}.replicas": random.choice((1, 2, 4))},
                {"router.ties": random.choice(("first", "random"))},
                {f"fleet.pools.{name}.engine.max_num_seqs": random.choice((2, 8))},
            )
        )
        changes.append({"at_s": at_s, "set": values})
    return changes


def draw_handover(random: Random, pools: list[Block]) -> Block:
    """Return a way from prefill to decode pools."""
    decider = random.choice(
        (
            {"kind": "always"},
            {"kind": "never"},
            {"kind": "prompt_length", "least_tokens": 200},
            {"kind": "queue_length", "max_local_prefill_length": 150, "max_prefill_queue_size": 2},
            {"kind": "uncached_tokens", "least_tokens": 64},
        )
    )
    kind = next(pool["engine"]["kind"] for pool in pools if pool.get("role") == "prefill")
    connectors = {"vllm_v1": ("nixl", "layerwise"), "sglang": ("sglang",), "tensorrt_llm": ("tensorrt_llm",)}
    return {
        "connector": random.choice(connectors[kind]),
        "decider": decider,
        "hold_timeout_s": random.choice((0.2, 480.0)),
    }


def draw_faults(random: Random, pools: list[Block]) -> list[Block]:
    """Return faults at given and at drawn times, within the length of these studies."""
    replicas = sum(pool["replicas"] for pool in pools)
    faults: list[Block] = []
    for _ in range(random.choice((1, 1, 2, 4))):
        kind = random.choice(
            ("crash", "crash", "hang", "slow", "link_lost", "node_loss", "gpu_reset", "router_restart")
        )
        fault: Block = {"kind": kind}
        if kind == "slow":
            fault["factor"] = random.choice((1.5, 4.0))
        if kind == "router_restart":
            fault |= {"at_s": random.choice((0.3, 1.1)), "duration_s": random.choice((0.05, 0.4))}
        elif kind == "node_loss":
            chosen = sorted(random.sample(range(replicas), min(2, replicas)))
            fault |= {"replicas": chosen, "at_s": random.choice((0.2, 0.9)), "duration_s": 0.6}
        elif random.random() < 0.5:
            times = sorted(random.sample((0.15, 0.5, 0.8, 1.4), random.choice((1, 2))))
            fault |= {"replicas": [random.randrange(replicas)], "at_s": times, "duration_s": random.choice((0.1, 0.3))}
        else:
            fault |= {"pool": random.choice(pools)["name"], "mtbf_s": random.choice((0.5, 2.0)), "mttr_s": 0.3}
            fault["seed"] = random.randrange(100)
        faults.append(fault)
    return faults


def draw_recovery(random: Random) -> Block:
    """Return what the router does about failures."""
    recovery: Block = {}
    if random.random() < 0.7:
        back_off = {"initial_ms": random.choice((0.5, 50)), "max_ms": 200}
        recovery["retries"] = {"max_retries": random.choice((1, 5)), "back_off": back_off}
        if random.random() < 0.4:
            recovery["retries"]["attempt_timeout_s"] = random.choice((0.15, 0.6))
        if random.random() < 0.3:
            recovery["retries"]["begun_streams"] = True
    if random.random() < 0.5:
        recovery["health"] = {"period_s": 0.2, "timeout_s": 0.05, "failure_threshold": random.choice((1, 2))}
        recovery["health"]["fails_requests"] = random.random() < 0.5
        recovery["health"]["probe"] = random.choice(("process", "generation"))
    if random.random() < 0.4:
        recovery["circuit_breaker"] = {"failure_threshold": 2, "window_s": 1.0, "open_s": 0.3, "success_threshold": 1}
    if random.random() < 0.4:
        recovery["migration"] = {"limit": random.choice((1, 3)), "on_drain": random.random() < 0.5}
        if random.random() < 0.6:
            recovery["migration"]["rebalance"] = {"period_s": random.choice((0.1, 0.3)), "threshold": 2}
    return recovery
