"""Devices, models, engines and fleets that cannot be: one figure of a real one changed beyond what is possible."""

import copy
import math
from collections.abc import Iterator
from random import Random
from typing import Any, Final

import yaml

from cluster_sim.conf_directory import library_path
from cluster_sim.serving.schedulers.engine_options import ENGINES, engine_options
from tests.fuzz.figures import LARGE, beyond, numbers
from tests.fuzz.impossible_fleets import impossible_fleet
from tests.fuzz.subject import base_study

Impossible = tuple[str, dict[str, Any], dict[str, Any] | None, dict[str, Any] | None]
"""(what was changed, the study, the device's file, the model's file); None where the library's is meant."""

_MAY_BE_ZERO: Final = {
    *("latency_us", "l2_bytes", "price_usd_per_hour", "published_parameters", "first_k_dense_replace"),
    *("n_shared_experts", "shared_expert_intermediate_size", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"),
    *("intermediate_size", "extra_parameters", "intermediate_sizes", "idle_ratio", "active_ratio", "memory_ratio"),
    *("flops_ratio", "temperature", "top_p", "top_k", "conv_kernel", "num_experts_per_tok"),
}
_MAY_BE_TINY: Final = {*_MAY_BE_ZERO, "cap_ratio"}


def possible(topic: str) -> list[dict[str, Any]]:
    """Return the content of the library's files that ``roomy_study`` takes: no model of more than 100 GB."""
    files = [yaml.safe_load(path.read_text()) for path in sorted(library_path(topic).glob("*.yaml"))]
    return [file for file in files if file.get("published_parameters", 0) < 1e11]


def impossible(draw: Random) -> Iterator[Impossible]:
    """Yield impossible settings without end."""
    devices, models = possible("devices"), possible("models")
    while True:
        what = draw.choice(("device", "model", "engine", "fleet"))
        if what == "fleet":
            change, study = impossible_fleet(draw)
            yield f"fleet {change}", study, None, None
            continue
        if what == "engine":
            key, pool = _engine(draw)
            study = base_study()
            study["fleet"]["pools"][0] |= pool
            yield f"engine {key}", study, None, None
            continue
        file = copy.deepcopy(draw.choice(devices if what == "device" else models))
        key = _change_figure(file, draw) if what == "device" or draw.random() < 0.6 else _contradict(file, draw)
        yield f"{what} {file.get('name')}: {key}", roomy_study(), *((file, None) if what == "device" else (None, file))


def roomy_study() -> dict[str, Any]:
    """Return a study that every device and every smaller model of the library can be put into."""
    pool = {"model": "llama-3.2-1b", "device": "b300", "engine": {"kind": "vllm_v1", "max_model_len": 2048}}
    return base_study(fleet={"pools": [pool]})


def _change_figure(file: dict[str, Any], draw: Random) -> str:
    """Change one number of a file beyond all bounds; return how."""
    holder, key = draw.choice(list(numbers(file)))
    value = holder[key]
    values = beyond(value)
    if key not in _MAY_BE_ZERO:
        values.append(0)
    if key not in _MAY_BE_TINY:
        values.append(abs(value) / LARGE)
    holder[key] = draw.choice(values)
    return f"{key}: {holder[key]!r}, not {value!r}"


def _contradict(file: dict[str, Any], draw: Random) -> str:
    """Let two figures of a model contradict each other; return how."""
    heads, layers = file["num_attention_heads"], file["num_hidden_layers"]
    experts = next((file[key] for key in ("num_local_experts", "num_experts", "n_routed_experts") if file.get(key)), 0)
    changes: list[dict[str, Any]] = [
        {"num_key_value_heads": heads + 1},
        {"torch_dtype": "int9"},
        {"weight_dtype": "fp13"},
        {"layer_types": ["full_attention"] * (layers + 1)},
        {"hidden_szie": 1},
        {"num_hidden_layers": None},
        {"hidden_size": [file["hidden_size"]]},
        {"published_parameters": 1e9 if file["published_parameters"] > 4e9 else 9e12},
    ]
    if heads > 2 and file["num_key_value_heads"] != heads - 1:
        changes.append({"num_key_value_heads": heads - 1})
    if experts:
        changes += [{"num_experts_per_tok": experts + 1}, {"first_k_dense_replace": layers + 1}]
    change = draw.choice(changes)
    file |= change
    return str(change)


def _engine(draw: Random) -> tuple[str, dict[str, Any]]:
    """Return an engine setting, or a degree of a pool, that no engine takes."""
    kind = draw.choice(ENGINES.names())
    options = engine_options(kind=kind)
    changes: list[dict[str, Any]] = [
        *({"max_num_seqs": value} for value in (0, -1, 10**9, 2.5, "8", True)),
        *({"max_model_len": value} for value in (0, -5, 10**12, math.nan)),
        *({"num_kv_blocks": value} for value in (0, -1, 10**8, math.inf)),
        *({"gpu_memory_utilization": value} for value in (0, -0.1, 1.5, math.nan, "all")),
        *({"block_size": value} for value in (0, -16, 1.5, 10**9)),
        {"kind": "vllm_v9"},
        {"maximum": 3},
    ]
    if options.block_sizes:
        changes.append({"block_size": max(options.block_sizes) * 2 + 1})
    if options.versions is not None:
        changes += [{"version": "99.0"}, {"version": "0.0"}, {"version": 0.15}]
    degrees: list[dict[str, Any]] = [
        *({"tensor_parallel": value} for value in (0, -1, 3, 7, 10**6, 1.5)),
        *({"pipeline_parallel": value} for value in (0, -1, 999, 10**6)),
        *({"expert_parallel": value} for value in (0, 2, 10**6)),
        *({"power_cap_w": value} for value in (0, -1, 1e9)),
        *({"replicas": value} for value in (-1, 10**9, 0.5)),
    ]
    if draw.random() < 0.3:
        degree = draw.choice(degrees)
        return str(degree), degree
    change = {"kind": kind, "num_kv_blocks": 800} | draw.choice(changes)
    return str(change), {"engine": change}
