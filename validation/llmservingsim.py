"""The two LLMServingSim data sets: 300 ShareGPT requests at 10 requests/s against vLLM 0.19 and vLLM 0.13.

Prompts carry the chained hashes of their 16-token blocks, so prefix hits replay without the text.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from cluster_sim.calibration.case import WHOLE_RUN, Case, Key, Requests
from cluster_sim.calibration.latency_figures import figures, percentage_error
from cluster_sim.calibration.tables import column, read_json, read_rows
from cluster_sim.errors import InputError
from cluster_sim.hardware.predictors.csv_table import open_text
from cluster_sim.units import NS_PER_S
from validation.scoring import Skipped

BENCH: Final = "llmservingsim-bench-vllm019"
ISPASS: Final = "llmservingsim-ispass26-vllm013"
BLOCK_TOKENS: Final = 16
PEER: Final = "LLMServingSim 2.0"
PEER_NAMES: Final = {"LLMServingSim2.0": PEER}
"""Names that a file spells differently."""
SUMMARY_ROWS: Final = {
    "TTFT Mean": "ttft_mean",
    "TTFT P99": "ttft_p99",
    "TPOT Mean": "tpot_mean",
    "TPOT P99": "tpot_p99",
    "Latency Mean": "e2e_mean",
    "Latency P99": "e2e_p99",
}
ISPASS_WORKLOADS: Final = (("phi", "phi"), ("mixtral", "mixtral"), ("llama", "llama"))
"""(part of the model's name, part of the workload file's name)."""


def load_workload(path: Path) -> Requests:
    """Read a workload of arrival times, lengths and block hashes."""
    rows = sorted(_read_json_lines(path), key=lambda row: int(row["arrival_time_ns"]))
    return Requests(
        arrival_s=np.array([row["arrival_time_ns"] / NS_PER_S for row in rows], np.float64),
        prompt_tokens=np.array([row["input_tokens"] for row in rows], np.int64),
        output_tokens=np.array([row["output_tokens"] for row in rows], np.int64),
        stage=np.zeros(len(rows), np.int64),
        segments=tuple(tuple((int(block), BLOCK_TOKENS) for block in row.get("block16_hashes", ())) for row in rows),
    )


def load_bench(folder: Path) -> tuple[list[Case], list[Skipped]]:
    """Load every ``<gpu>__<model>`` folder."""
    cases: list[Case] = []
    skipped: list[Skipped] = []
    for run in sorted(path for path in folder.iterdir() if path.is_dir()):
        try:
            cases.append(_bench_case(run))
        except (KeyError, ValueError, OSError, StopIteration) as error:
            skipped.append(Skipped(BENCH, run.name, f"{type(error).__name__}: {error}"))
    return cases, skipped


def _bench_case(folder: Path) -> Case:
    meta = read_json(folder / "meta.json")
    kwargs: dict[str, Any] = meta["engine_kwargs"]
    names = ("request_id", "input_tokens", "output_tokens", "arrival_s", "ttft_s", "e2e_s")
    rows = read_rows(folder / "requests.csv.gz", names)
    rows.sort(key=lambda row: int(row["request_id"].rsplit("-", 1)[-1]))
    outputs = column(rows, "output_tokens").astype(np.int64)
    stage = np.zeros(len(rows), np.int64)
    workload = load_workload(folder / "workload.jsonl.gz")
    ranks = int(kwargs.get("data_parallel_size") or 1)
    engine: dict[str, Any] = {
        "kind": "vllm_v1",
        "version": meta["vllm_version"],
        "max_num_seqs": kwargs.get("max_num_seqs"),
        "max_num_batched_tokens": kwargs.get("max_num_batched_tokens"),
        "max_model_len": kwargs.get("max_model_len"),
        "enable_prefix_caching": True,
    }
    blocks = known_kv_blocks(meta)
    if blocks:
        engine["num_kv_blocks"] = blocks
    config = read_json(folder / "config.json") if (folder / "config.json").exists() else {}
    measured = figures(column(rows, "ttft_s"), column(rows, "e2e_s"), column(rows, "arrival_s"), outputs, stage)
    return Case(
        dataset=BENCH,
        run=folder.name,
        model=meta["model"],
        device=folder.name.split("__")[0],
        tensor_parallel=int(kwargs.get("tensor_parallel_size") or 1),
        workload="sharegpt-300",
        requests=workload,
        engine=engine,
        replicas=ranks,
        is_data_parallel=ranks > 1,
        link_bytes_per_s=float(config.get("link_bw", 0)) * 1e9,
        link_latency_us=float(config.get("link_latency", 0)) * 1e-3,
        measured=measured,
        peers={PEER: _summary_errors(folder / "summary.txt")},
        fold=folder.name,
        has_operators=True,
    )


def known_kv_blocks(meta: dict[str, Any]) -> int:
    """Return the KV blocks that a run's description reports, below ``kv_cache`` or beside it; 0 if none."""
    below = meta.get("kv_cache")
    for place in (below if isinstance(below, dict) else {}, meta):
        for name in ("num_gpu_blocks", "kv_blocks"):
            blocks = place.get(name)
            if isinstance(blocks, int) and blocks > 1:
                return blocks
    return 0


def _summary_errors(path: Path) -> dict[Key, float]:
    """Return the peer's errors from the table of measured and simulated figures."""
    found: dict[Key, float] = {}
    if not path.exists():
        return found
    for line in path.read_text(encoding="utf-8").splitlines():
        for label, metric in SUMMARY_ROWS.items():
            if line.startswith(label):
                measured, simulated = (float(word) for word in line[len(label) :].split()[:2])
                found[WHOLE_RUN, metric] = percentage_error(simulated, measured)
    return found


def load_ispass(folder: Path) -> tuple[list[Case], list[Skipped]]:
    """Load the scenarios of figure 8 and the throughput curves of figure 5."""
    cases: list[Case] = []
    skipped: list[Skipped] = []
    for run, measured, peers in _figure_8(folder) + _figure_5(folder):
        config_path = folder / f"{run}_cluster_config.json"
        if not config_path.exists():
            skipped.append(Skipped(ISPASS, run, f"no {config_path.name}"))
            continue
        try:
            cases.append(_ispass_case(folder, run, read_json(config_path), measured, peers))
        except (KeyError, ValueError, OSError) as error:
            skipped.append(Skipped(ISPASS, run, str(error)))
    return cases, skipped


def _figure_8(folder: Path) -> list[tuple[str, dict[Key, float], dict[str, dict[Key, float]]]]:
    path = folder / "fig8_simulators_vs_vllm.csv"
    if not path.exists():
        return []
    columns = {"throughput_tok_s": ("tokens_per_s", 1.0), "mean_ttft_ms": ("ttft_mean", 1e-3)}
    columns["mean_tpot_ms"] = ("tpot_mean", 1e-3)
    by_scenario: dict[str, dict[str, dict[Key, float]]] = {}
    for row in read_rows(path, ("scenario", "framework", *columns)):
        values = {
            (WHOLE_RUN, metric): float(row[name]) * scale
            for name, (metric, scale) in columns.items()
            if row[name] not in {"", "X"}
        }
        by_scenario.setdefault(row["scenario"], {})[row["framework"]] = values
    found = []
    for scenario, by_framework in by_scenario.items():
        measured = by_framework.pop("vLLM", {})
        peers = {
            PEER_NAMES.get(name, name): {
                key: percentage_error(value, measured[key]) for key, value in values.items() if key in measured
            }
            for name, values in by_framework.items()
        }
        if measured:
            found.append((f"fig8_{scenario}", measured, peers))
    return found


def _figure_5(folder: Path) -> list[tuple[str, dict[Key, float], dict[str, dict[Key, float]]]]:
    found = []
    for path in sorted(folder.glob("fig5_*_throughput_vllm.tsv")):
        run = path.name.removesuffix("_throughput_vllm.tsv")
        measured = _mean_throughput(path)
        peer = folder / f"{run}_throughput_llmservingsim2.tsv"
        key = (WHOLE_RUN, "tokens_per_s")
        peers = {PEER: {key: percentage_error(_mean_throughput(peer), measured)}} if peer.exists() else {}
        found.append((run, {key: measured}, peers))
    return found


def _mean_throughput(path: Path) -> float:
    """Return tokens per second from the start to the last second with any."""
    rows = read_rows(path, ("time_s", "throughput"), delimiter="\t")
    throughput = column(rows, "throughput")
    last = int(np.flatnonzero(throughput > 0)[-1])
    return float(np.nansum(throughput[: last + 1]) / max(1, last))


def _ispass_case(
    folder: Path, run: str, config: dict[str, Any], measured: dict[Key, float], peers: dict[str, dict[Key, float]]
) -> Case:
    instances = [instance for node in config["nodes"] for instance in node["instances"]]
    first = instances[0]
    model = first["model_name"]
    part = next(file for name, file in ISPASS_WORKLOADS if name in model.lower())
    path = next(iter(sorted(folder.glob(f"workload_*_{part}.jsonl.gz"))), None)
    if path is None:
        raise ValueError(f"no workload for {model}")
    return Case(
        dataset=ISPASS,
        run=run,
        model=model,
        device=first["hardware"],
        tensor_parallel=int(first.get("npu_num") or first.get("tp_size") or 1),
        workload=part,
        requests=load_workload(path),
        engine={
            "kind": "vllm_v1",
            "version": "0.13",
            "enable_prefix_caching": "PC" in run,
            # Stated of figure 7; the curves of the others have the same 20 ms a step from one request to thirty.
            "enforce_eager": True,
        },
        replicas=len(instances),
        prefill_replicas=sum(instance.get("pd_type") == "prefill" for instance in instances),
        measured=measured,
        peers=peers,
        fold=run,
    )


def _read_json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file with one JSON object a line."""
    with open_text(path) as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                yield json.loads(line)
            except ValueError as error:
                raise InputError(f"{path}:{number}: not JSON: {error}") from None
