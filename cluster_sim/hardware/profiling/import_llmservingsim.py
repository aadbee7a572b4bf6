"""Import of LLMServingSim's operator profiles.

Source of the layout: LLMServingSim 2.0's profiler, folder ``<gpu>/<model>/<dtype>/tp<degree>`` with ``dense.csv`` (by
tokens), ``per_sequence.csv`` (by sequences), ``attention.csv`` (chunk, its cache, decodes, cache of each decode),
``moe.csv`` (tokens, activated experts); microseconds.  Measured without CUDA graphs, kernels only;
the decodes of one row have equal caches.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cluster_sim.errors import InputError
from cluster_sim.hardware.library_file import load_mapping
from cluster_sim.hardware.predictors.csv_table import find_table, number, read_rows
from cluster_sim.hardware.predictors.operator_profile import Measurement, OperatorProfile, ProfileInfo, make_profile

STEP_LAYERS: Final = ("embedding", "final_layernorm")
"""Operators of ``dense.csv`` that run once a step; the others run in every layer."""
COUNTS: Final = {"layernorm": 2}
"""Operators that run more than once a layer."""


def import_llmservingsim(directory: Path, device: str, model: str, tensor_parallel: int = 1) -> OperatorProfile:
    """Read ``directory`` (the folder ``tp<degree>``, or the one above it that has ``meta.yaml``).

    ``device`` and ``model`` are names of the library; the folder's own ``hardware`` must name the same device.  Raises
    InputError with file, line and column for anything wrong.
    """
    folder = directory if directory.name.startswith("tp") else directory / f"tp{tensor_parallel}"
    if folder.name != f"tp{tensor_parallel}" or not folder.is_dir():
        raise InputError(f"{directory}: has no folder tp{tensor_parallel}")
    versions, hardware = _meta(folder.parent / "meta.yaml")
    if hardware and plain_name(hardware) != plain_name(device):
        raise InputError(f"{folder.parent / 'meta.yaml'}: is a profile for {hardware}, not for {device}")
    info = ProfileInfo(
        device=device,
        model=model,
        tensor_parallel=tensor_parallel,
        dtype=folder.parent.name,
        engine="vllm",
        source=f"LLMServingSim profile {folder.parent.parent.name} on {hardware or device}",
        versions=versions,
    )
    return make_profile(info, _rows(folder), str(folder))


def plain_name(name: str) -> str:
    """Return a device's name without punctuation and case, for comparison."""
    return "".join(character for character in name.lower() if character.isalnum())


def _meta(path: Path) -> tuple[dict[str, str], str]:
    if not path.is_file():
        return {}, ""
    data = load_mapping(path)
    keys = ("vllm_version", "cuda_version", "gpu", "profiled_at", "profiler_version")
    return {key: str(data[key]) for key in keys if key in data}, str(data.get("hardware", ""))


def _rows(folder: Path) -> Iterator[Measurement]:
    path = _table(folder, "dense.csv")
    for line, row in read_rows(path, ("layer", "tokens", "time_us")):
        layer = row["layer"]
        yield Measurement(
            operator=f"step.{layer}" if layer in STEP_LAYERS else f"layer.{layer}",
            tokens=int(number(path, line, row, "tokens")),
            count=COUNTS.get(layer, 1),
            time_us=number(path, line, row, "time_us"),
            row=line,
        )
    path = _table(folder, "per_sequence.csv")
    for line, row in read_rows(path, ("layer", "sequences", "time_us")):
        yield Measurement(
            operator=f"sequence.{row['layer']}",
            sequences=int(number(path, line, row, "sequences")),
            time_us=number(path, line, row, "time_us"),
            row=line,
        )
    path = _table(folder, "attention.csv")
    for line, row in read_rows(path, ("prefill_chunk", "kv_prefill", "n_decode", "kv_decode", "time_us")):
        yield Measurement(
            operator="attention",
            prefill_tokens=int(number(path, line, row, "prefill_chunk")),
            prefill_kv_tokens=int(number(path, line, row, "kv_prefill")),
            decodes=int(number(path, line, row, "n_decode")),
            decode_kv_tokens=int(number(path, line, row, "kv_decode")),
            time_us=number(path, line, row, "time_us"),
            row=line,
        )
    moe = find_table(folder, "moe.csv")
    if moe is None:
        return
    for line, row in read_rows(moe, ("tokens", "activated_experts", "time_us")):
        yield Measurement(
            operator="moe",
            tokens=int(number(moe, line, row, "tokens")),
            experts=int(number(moe, line, row, "activated_experts")),
            time_us=number(moe, line, row, "time_us"),
            row=line,
        )


def _table(folder: Path, name: str) -> Path:
    path = find_table(folder, name)
    if path is None:
        raise InputError(f"{folder / name}: no such file (nor with .gz)")
    return path
