"""Scalers, upgrades and changes drawn for a random small study."""

from random import Random
from typing import Any

Block = dict[str, Any]

_METRICS = ("running", "waiting", "kv_used_ratio", "in_flight", "queued", "requests_per_s", "tokens_per_s")


def add_scaling(random: Random, study: Block) -> None:
    """Let the fleet of a study change during its run."""
    pools = study["fleet"]["pools"]
    for pool in pools:
        pool["cold_start"] = {
            "process_s": random.choice((0.0, 0.1, 0.6)),
            "compile_s": 0,
            "warmup_s": 0,
            "weights_gb_per_s": random.choice((1000, 10_000)),
        }
        pool["drain_grace_s"] = random.choice((0.0, 0.05, 30.0))
    if random.random() < 0.65:
        study["autoscaler"] = draw_autoscaler(random, pools)
        if random.random() < 0.3:
            scale_from_zero(random, study)
    else:
        add_changes(random, study)
    if random.random() < 0.3:
        study["router"]["split"] = {pool["name"]: random.choice((1, 3)) for pool in pools}


def scale_from_zero(random: Random, study: Block) -> None:
    """Let pools go to zero, with a queue at the router, and one begin there; nothing may ever bring it up."""
    study["autoscaler"]["min_replicas"] = 0
    study.setdefault("admission", {"detector": {"kind": random.choice(("concurrency", "total_concurrency"))}})
    study["run"]["end_s"] = 8
    pools = study["fleet"]["pools"]
    if len(pools) > 1 and not any("role" in pool for pool in pools):
        random.choice(pools)["replicas"] = 0


def draw_autoscaler(random: Random, pools: list[Block]) -> Block:
    """Return a scaler with short periods."""
    metric = {"metric": random.choice(_METRICS), "target": random.choice((0.1, 1, 5))}
    names = [pool["name"] for pool in pools]
    blocks: list[Block] = [
        {"kind": "hpa", "metrics": [metric], "sync_period_s": 0.3},
        {"kind": "keda", "triggers": [metric], "sync_period_s": 0.2, "polling_interval_s": 0.3, "cooldown_s": 0.5},
        {
            "kind": "knative",
            "target": random.choice((1, 4)),
            "tick_s": 0.1,
            "stable_window_s": 1,
            "panic_window_s": 0.2,
        },
        {
            "kind": "ray_serve",
            "target_ongoing_requests": random.choice((0.5, 2)),
            "metrics_interval_s": 0.2,
            "look_back_period_s": 0.4,
            "upscale_delay_s": 0.25,
            "downscale_delay_s": 0.5,
        },
        {"kind": "llm_d_variant", "interval_s": 0.3, "kv_threshold_ratio": 0.3, "queue_threshold": 2, "spare_queue": 1},
        {
            "kind": "schedule",
            "entries": [
                {"at_s": time_s, "replicas": {name: random.randint(1, 6) for name in names}}
                for time_s in (0.2, 0.9, 1.7)
            ],
            "period_s": 2.0,
        },
    ]
    block = random.choice(blocks)
    bounds = {"min_replicas": 1, "max_replicas": random.choice((3, 8))}
    samples = {"sample_period_s": random.choice((0.05, 0.3)), "sample_latency_s": random.choice((0.0, 0.02))}
    victim = random.choice(("youngest", "oldest", "least_outstanding"))
    return {**block, **bounds, **samples, "victim": victim, "gpu_budget": random.choice((None, 9))}


def add_changes(random: Random, study: Block) -> None:
    """Add changes at given times, one of them an upgrade at most."""
    pools = study["fleet"]["pools"]
    changes = []
    for time_s in sorted(random.sample((0.1, 0.4, 0.8, 1.3, 2.1), 3)):
        pool = random.randrange(len(pools))
        values = random.choice(
            (
                {f"fleet.pools.{pool}.replicas": random.randint(1, 4)},
                {"router.ties": random.choice(("random", "first"))},
                {"router.split": {pools[pool]["name"]: 1}},
            )
        )
        changes.append({"at_s": time_s, "set": values})
    if not any("role" in pool for pool in pools):
        changes.append({"at_s": 0.6, "set": {"fleet.pools.0.engine.max_num_seqs": 8}})
    study["run"]["changes"] = changes
