"""Import of Vidur's raw profiling CSVs.

Source of the layout: microsoft/vidur, ``data/profiling``: ``mlp.csv`` (one layer on one tensor-parallel rank by
``num_tokens``), ``attention.csv`` (prefill chunks over a cache; decodes of equal cache), ``all_reduce.csv`` and
``send_recv.csv`` (by bytes); times in milliseconds, of which the median counts.  Repeated measurements of one key,
which these files have, are merged to their median; head and sampler are not measured there.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Final

from cluster_sim.errors import InputError
from cluster_sim.hardware.model import Model
from cluster_sim.hardware.predictors.csv_table import number, read_rows
from cluster_sim.hardware.predictors.operator_profile import Measurement, OperatorProfile, ProfileInfo, make_profile

LAYER_OPERATORS: Final = (
    "attn_pre_proj",
    "attn_rope",
    "attn_post_proj",
    "input_layernorm",
    "post_attention_layernorm",
    "mlp_up_proj",
    "mlp_act",
    "mlp_down_proj",
    "add",
)
STEP_OPERATORS: Final = ("emb",)
LAUNCH_US: Final = 20.0
"""Vidur adds this launch time to every all-reduce."""


def import_vidur(
    mlp: Path,
    attention: Path,
    device: str,
    model: Model,
    tensor_parallel: int = 1,
    all_reduce: Path | None = None,
    send_recv: Path | None = None,
) -> OperatorProfile:
    """Read one model's files.

    The files must be of the model's widths and contain ``tensor_parallel``; ``all_reduce`` is needed beyond one GPU.
    Raises InputError with file, line and column for anything wrong.
    """
    if tensor_parallel > 1 and all_reduce is None:
        raise InputError(f"tensor_parallel {tensor_parallel} needs Vidur's all_reduce.csv of the network")
    rows = [*_mlp(mlp, model, tensor_parallel), *_attention(attention, model, tensor_parallel)]
    if all_reduce is not None and tensor_parallel > 1:
        rows += _network(all_reduce, "all_reduce", model, tensor_parallel, tensor_parallel)
    if send_recv is not None:
        rows += _network(send_recv, "send_recv", model, 2, 2)
    info = ProfileInfo(
        device=device,
        model=model.name,
        tensor_parallel=tensor_parallel,
        dtype="fp16",
        engine="vidur",
        source=f"Vidur profile {mlp.parent.name}",
    )
    return make_profile(info, merged(rows), str(mlp))


def merged(rows: Iterable[Measurement]) -> list[Measurement]:
    """Return one row per operator and key: the median of repeated measurements."""
    groups: dict[tuple[str, tuple[int, ...]], list[Measurement]] = {}
    for row in rows:
        groups.setdefault((row.operator, row.key), []).append(row)
    return [replace(group[0], time_us=median(row.time_us for row in group)) for group in groups.values()]


def _mlp(path: Path, model: Model, tensor_parallel: int) -> Iterator[Measurement]:
    columns = {name: f"time_stats.{name}.median" for name in (*LAYER_OPERATORS, *STEP_OPERATORS)}
    shape = ("n_head", "n_kv_head", "n_embd", "n_expanded_embd")
    found = False
    for line, row in read_rows(path, (*shape, "num_tokens", "num_tensor_parallel_workers", *columns.values())):
        widths = tuple(int(number(path, line, row, name)) for name in shape)
        wanted = (
            model.num_attention_heads,
            model.num_key_value_heads,
            model.hidden_size,
            model.intermediate_size,
        )
        if widths != wanted:
            raise InputError(
                f"{path}:{line}: measured with {', '.join(shape)} = {widths}, but {model.name} has {wanted}"
            )
        if int(number(path, line, row, "num_tensor_parallel_workers")) != tensor_parallel:
            continue
        found = True
        tokens = int(number(path, line, row, "num_tokens"))
        for name, column in columns.items():
            if row[column] == "":
                continue
            kind = "step" if name in STEP_OPERATORS else "layer"
            us = number(path, line, row, column) * 1e3
            yield Measurement(f"{kind}.{name}", us, tokens=tokens, row=line)
    if not found:
        raise InputError(f"{path}: has no rows with num_tensor_parallel_workers {tensor_parallel}")


def _attention(path: Path, model: Model, tensor_parallel: int) -> Iterator[Measurement]:
    decode, prefill = "time_stats.attn_decode.median", "time_stats.attn_prefill.median"
    keys = ("n_q_head", "n_kv_head", "num_tensor_parallel_workers", "batch_size", "prefill_chunk_size", "kv_cache_size")
    wanted = (model.num_attention_heads // tensor_parallel, -(-model.num_key_value_heads // tensor_parallel))
    found = False
    for line, row in read_rows(path, (*keys, decode, prefill, "is_prefill")):
        value = {name: int(number(path, line, row, name)) for name in keys}
        workers = value["num_tensor_parallel_workers"]
        if (value["n_q_head"] // workers, -(-value["n_kv_head"] // workers)) != wanted:
            continue
        found = True
        if row["is_prefill"] == "True":
            yield Measurement(
                "attention",
                number(path, line, row, prefill) * 1e3,
                prefill_tokens=value["prefill_chunk_size"],
                prefill_kv_tokens=value["kv_cache_size"],
                row=line,
            )
        else:
            yield Measurement(
                "attention",
                number(path, line, row, decode) * 1e3,
                decodes=value["batch_size"],
                decode_kv_tokens=value["kv_cache_size"],
                row=line,
            )
    if not found:
        raise InputError(
            f"{path}: has no rows with {wanted[0]} query and {wanted[1]} key/value heads per GPU, which {model.name} "
            f"has with tensor_parallel {tensor_parallel}"
        )


def _network(path: Path, operator: str, model: Model, workers: int, per_node: int) -> Iterator[Measurement]:
    column = f"time_stats.{operator}.median"
    bytes_per_token = 2 * model.hidden_size
    found = False
    for line, row in read_rows(path, (column, "num_workers", "size", "devices_per_node")):
        size = int(number(path, line, row, "size"))
        is_wanted = (
            int(number(path, line, row, "num_workers")) == workers
            and int(number(path, line, row, "devices_per_node")) == per_node
        )
        if not is_wanted or size % bytes_per_token:
            continue
        found = True
        us = number(path, line, row, column) * 1e3
        if operator == "all_reduce":
            us += LAUNCH_US
        yield Measurement(
            operator, us, tokens=size // bytes_per_token, count=2 if operator == "all_reduce" else 1, row=line
        )
    if not found:
        raise InputError(f"{path}: has no rows with num_workers {workers} and devices_per_node {per_node}")
