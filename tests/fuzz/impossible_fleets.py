"""Services that cannot be: drawn fleets with one figure beyond the possible, or one setting that contradicts another.

The fleets have sites, links, hand-overs, offloaded caches, speculative decoding, adapters, encoders, scalers, faults,
retries, flow control and changes.
"""

from random import Random
from typing import Any, Final

from tests.fleet.drawn_fleets import draw_study
from tests.fuzz.figures import beyond, numbers

Block = dict[str, Any]

_FREE: Final = frozenset({"seed", "priority", "weights", "request_rate"})
"""Numbers without a physical meaning, and rates, which may be infinite: a burst."""


def possible_fleet(draw: Random) -> Block:
    """Return a study of a service that has some of everything."""
    study = draw_study(draw)
    fleet = study["fleet"]
    for pool in fleet["pools"]:
        engine = pool["engine"]
        if engine["kind"] == "vllm_v1" and not pool.get("role"):
            engine |= draw.choice((_SPECULATIVE, _OFFLOAD, _ADAPTERS, {}))
        if draw.random() < 0.3:
            pool["node"] = {"gpus": 8, "nics_per_gpu": 1}
    roles = {pool.get("role"): pool["name"] for pool in fleet["pools"]}
    if {"prefill", "decode"} <= roles.keys() and not fleet.get("sites"):
        between = f"{roles['prefill']} - {roles['decode']}"
        fleet["links"] = [{"between": between, "link": "infiniband-ndr", "links_per_gpu": 0.5}]
    return study


_SPECULATIVE: Final[Block] = {"speculative": {"num_speculative_tokens": 3, "acceptance": [0.8, 0.6], "draft_ms": 1.0}}
_OFFLOAD: Final[Block] = {"kv_offload": {"cpu_gib": 4.0}, "enable_prefix_caching": True}
_ADAPTERS: Final[Block] = {"lora": {"max_loras": 4, "load_ms": 20.0}}


def impossible_fleet(draw: Random) -> tuple[str, Block]:
    """Return what was changed of a possible service, and the study."""
    study = possible_fleet(draw)
    if draw.random() < 0.3:
        change, block, settings = draw.choice(_contradictions(study))
        block |= settings
        return change, study
    places = [(holder, key) for holder, key in numbers(study, _FREE)]
    holder, key = draw.choice(places)
    value = holder[key]
    # A fault may have one time or several.
    holder[key] = draw.choice([wrong for wrong in beyond(value) if key != "at_s" or not isinstance(wrong, list)])
    return f"{key}: {holder[key]!r}, not {value!r}", study


def _contradictions(study: Block) -> list[tuple[str, Block, Block]]:
    """Return (what it says, a block of the study, settings) that the rest of the study does not allow."""
    fleet = study["fleet"]
    pool = fleet["pools"][0]
    engine = pool["engine"]
    changes: list[tuple[Block, Block]] = [
        (pool, {"site": "nowhere"}),
        (pool, {"role": "decode", "replicas": 0}),
        (pool, {"tensor_parallel": 5}),
        (pool, {"node": {"gpus": 0}}),
        (pool, {"cold_start": {"weights_gb_per_s": 0}}),
        (engine, {"speculative": {"num_speculative_tokens": 1, "acceptance": [0.7, 1.5]}}),
        (engine, {"speculative": {"num_speculative_tokens": 0}}),
        (engine, {"kv_offload": {"cpu_gib": 0}}),
        (engine, {"lora": {"max_loras": 0}}),
        (engine, {"num_kv_blocks": 10**8}),
        (fleet, {"links": [{"between": "here - there", "link": "infiniband-ndr"}]}),
        (fleet, {"links": [{"between": f"{pool['name']} - {pool['name']}", "link": "no-such-link"}]}),
        (fleet, {"encoders": {"instances": 0, "tokens_per_s": 500}}),
        (fleet, {"encoders": {"instances": 1, "tokens_per_s": 0}}),
        (fleet, {"sites": {"router": "west", "routes": [{"between": "west - west", "latency_ms": 1}]}}),
        (fleet, {"handover": {"connector": "pigeon"}}),
        (study, {"autoscaler": {"kind": "hpa", "metrics": [], "min_replicas": 4, "max_replicas": 2}}),
        (study, {"faults": [{"kind": "crash", "replicas": [10**4], "at_s": 0.2, "duration_s": 0.1}]}),
        (study, {"faults": [{"kind": "crash", "pool": "no such pool", "mtbf_s": 1.0, "mttr_s": 0.1}]}),
        (study, {"faults": [{"kind": "slow", "replicas": [0], "at_s": 0.2, "duration_s": 0.1, "factor": 0}]}),
        (study["router"], {"telemetry": {"period_ms": 0, "latency_ms": 5}}),
        (study["run"], {"changes": [{"at_s": -1, "set": {"router.ties": "first"}}]}),
        (study["run"], {"changes": [{"at_s": 1, "set": {"fleet.pools.nobody.replicas": 2}}]}),
    ]
    return [(str(settings), block, settings) for block, settings in changes]
