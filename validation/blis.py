"""The vLLM 0.15 campaign: aggregates of many runs, and some of them request by request.

What the data's notes establish and the loaders follow: prompts come in a cycle of 100, so from the second round on a
whole prompt sits in the prefix cache; the engine always generates ``max_tokens``; the published inter-token latency
counts re-tokenised output, so TPOT is computed from E2E and TTFT; some aggregates are the means of a run that is also
given request by request, and share its fold.
"""

import zlib
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

import numpy as np

from cluster_sim.calibration.case import WHOLE_RUN, Case, FloatArray, Int64Array, Key, Requests
from cluster_sim.calibration.latency_figures import figures
from cluster_sim.calibration.tables import column, read_json, read_rows
from validation.scoring import AGGREGATES, REQUESTS, Skipped

PROMPT_CYCLE: Final = 100
CLIENT_TIMEOUT_S: Final = 300.0
OVERLOADED_SHARE: Final = 0.02
"""Share of requests given up by the client beyond which latencies of the rest mean nothing."""
RETOKENIZED: Final = 1.046
"""Prompt tokens that the engine sees per token the load generator asked for (1.041-1.051 in every run with rows)."""
LENGTH_SPREAD_TOKENS: Final = 6.0
"""Standard deviation of prompt lengths within a cycle (5.5-7.7 in every run with rows)."""
BLOCK_TOKENS: Final = 16
OFFLOAD_GIB: Final = 8.0
"""Host memory of every run with an offloading connector."""
ENGINE: Final[dict[str, Any]] = {
    "kind": "vllm_v1",
    "version": "0.15.1",
    "max_num_seqs": 128,
    "max_model_len": 4096,
    "enable_prefix_caching": True,
    "block_size": BLOCK_TOKENS,
}


def load_requests(folder: Path) -> tuple[list[Case], list[Skipped]]:
    """Load the runs with one row per request."""
    cases: list[Case] = []
    skipped: list[Skipped] = []
    for meta_path in sorted(folder.glob("*.meta.json")):
        run = meta_path.name.removesuffix(".meta.json")
        try:
            cases.append(_request_case(run, read_json(meta_path), meta_path.with_name(f"{run}.requests.csv.gz")))
        except (KeyError, ValueError, OSError) as error:
            skipped.append(Skipped(REQUESTS, run, f"{type(error).__name__}: {error}"))
    return cases, skipped


def _request_case(run: str, meta: dict[str, Any], path: Path) -> Case:
    names = ("index", "arrival_s", "input_tokens", "max_tokens", "ttft_s", "e2e_s", "error")
    rows = read_rows(path, names)
    rows.sort(key=lambda row: (float(row["arrival_s"]), int(row["index"])))
    arrival_s, ids = column(rows, "arrival_s"), column(rows, "index").astype(np.int64) % PROMPT_CYCLE
    settings = meta["engine_config"]
    failed = column(rows, "error") > 0
    durations = [float(load_stage["duration"]) for load_stage in meta["load"]["stages"]]
    stage = np.searchsorted(np.cumsum(durations)[:-1], arrival_s, side="right").astype(np.int64)
    outputs = column(rows, "max_tokens").astype(np.int64)
    requests = Requests(
        arrival_s=arrival_s,
        prompt_tokens=_fill_prompts(column(rows, "input_tokens"), ids, meta["load"]),
        output_tokens=outputs,
        stage=stage,
        prompt_ids=ids,
    )
    e2e = np.where(failed, np.nan, column(rows, "e2e_s"))
    measured = figures(column(rows, "ttft_s"), e2e, arrival_s, outputs, stage, tuple(range(len(durations))))
    return Case(
        dataset=REQUESTS,
        run=run,
        model=meta["model_id"],
        device=meta["gpu"],
        tensor_parallel=int(settings["tensor_parallel"]),
        workload=meta["workload"],
        requests=requests,
        engine={
            **ENGINE,
            "version": _version(meta["engine"]),
            "max_num_seqs": int(settings["max_num_seqs"]),
            "max_model_len": int(settings["max_model_len"]),
            "max_num_batched_tokens": int(settings["max_num_batched_tokens"]),
            "block_size": int(settings["block_size"]),
            "gpu_memory_utilization": float(settings["gpu_memory_utilization"]),
            "enable_prefix_caching": bool(settings["prefix_caching"]),
            "enable_chunked_prefill": bool(settings["chunked_prefill"]),
            "num_kv_blocks": int(settings["kv_blocks_total_gpu"]),
            **offload_options(settings.get("cpu_kv_offload")),
        },
        quantization="fp8" if meta["precision"].lower() == "fp8" else None,
        client_timeout_s=CLIENT_TIMEOUT_S,
        measured=measured,
        fold=run,
        is_overloaded=float(failed.mean()) > OVERLOADED_SHARE,
    )


def offload_options(text: Any) -> dict[str, Any]:
    """Return the engine's options for what a run says of its KV cache in host memory.

    Aggregates say True and mean the same 8 GiB that runs with rows name.
    """
    if not text or str(text) in {"False", "None", "0"}:
        return {}
    first = str(text).split()[0]
    return {"kv_offload": {"cpu_gib": float(first) if first.replace(".", "").isdigit() else OFFLOAD_GIB}}


def _version(engine: str) -> str:
    """Return the version in a text such as "vLLM 0.15.1 (V1)"."""
    return next(word for word in engine.split() if word[:1].isdigit())


def _fill_prompts(tokens: FloatArray, ids: Int64Array, load: dict[str, Any]) -> Int64Array:
    """Return prompt lengths; failed requests have none, but the cycle repeats them."""
    nominal = RETOKENIZED * (load["system_prompt_len"] + load["question_len"])
    known = np.isfinite(tokens) & (tokens > 0)
    by_id = np.full(PROMPT_CYCLE, nominal)
    by_id[ids[known]] = tokens[known]
    return np.rint(np.where(known, tokens, by_id[ids])).astype(np.int64)


def load_aggregates(folder: Path, request_cases: list[Case]) -> tuple[list[Case], list[Skipped]]:
    """Load the runs given by their means; ``request_cases`` are recognised where they are the same measurement."""
    names = ("set", "exp_id", "model", "gpu", "tp", "precision", "workload", "stage", "metric", "measured_ms")
    by_run: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    for row in read_rows(folder / "measured.csv", names):
        by_run[row["set"], row["exp_id"]].append(row)
    workloads: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in read_rows(folder / "workloads.csv", ("workload", "stage", "rate_rps", "duration_s", "output_len")):
        workloads[row["workload"]].append(row)
    peers = _peer_errors(folder / "peer_predictions.csv.gz")
    cases: list[Case] = []
    skipped: list[Skipped] = []
    for (group, run), rows in by_run.items():
        name = f"{group}/{run}"
        stages = workloads.get(workload_name(rows[0]["workload"], workloads))
        if stages is None:
            skipped.append(Skipped(AGGREGATES, name, f"workload {rows[0]['workload']!r} is not in workloads.csv"))
            continue
        try:
            cases.append(_aggregate_case(name, run, rows, stages, peers.get((group, run), {}), request_cases))
        except (KeyError, ValueError) as error:
            skipped.append(Skipped(AGGREGATES, name, f"{type(error).__name__}: {error}"))
    return cases, skipped


def workload_name(name: str, known: dict[str, Any]) -> str:
    """Return the workload that a run's label means: labels repeat the suffix ("general-lite-lite")."""
    while name not in known and name.endswith("-lite"):
        name = name.removesuffix("-lite")
        if f"{name}-lite" in known and not name.endswith("-lite"):
            return f"{name}-lite"
    return name


def _aggregate_case(
    name: str,
    run: str,
    rows: list[dict[str, str]],
    stages: list[dict[str, str]],
    peers: dict[str, dict[Key, float]],
    request_cases: list[Case],
) -> Case:
    first = rows[0]
    published = {(int(row["stage"]), row["metric"]): float(row["measured_ms"]) / 1e3 for row in rows}
    measured = {key: value for key, value in published.items() if not key[1].startswith("itl")}
    output_len = int(stages[0]["output_len"])
    for stage in {key[0] for key in published}:
        if (stage, "e2e_mean") in published and (stage, "ttft_mean") in published:
            decode_s = published[stage, "e2e_mean"] - published[stage, "ttft_mean"]
            measured[stage, "tpot_mean"] = decode_s / (output_len - 1)
    workload = stages[0]["workload"]
    twin = _same_measurement(first, workload, published, request_cases)
    # A run that is given request by request too says more of its server there.
    twin_offload = {"kv_offload": twin.engine["kv_offload"]} if twin and "kv_offload" in twin.engine else {}
    seed = zlib.crc32(run.encode())
    requests = twin.requests if twin else generate(stages, seed)
    return Case(
        dataset=AGGREGATES,
        run=name,
        model=first["model"],
        device=first["gpu"],
        tensor_parallel=int(first["tp"]),
        workload=workload,
        requests=requests,
        engine={
            **ENGINE,
            "max_num_batched_tokens": int(first["max_num_batched_tokens"]),
            "gpu_memory_utilization": float(first["gpu_mem_util"]),
            **(twin_offload if twin else offload_options(first.get("cpu_offload"))),
        },
        quantization="fp8" if first["precision"].upper() == "FP8" else None,
        client_timeout_s=CLIENT_TIMEOUT_S,
        measured=measured,
        peers=peers,
        fold=twin.fold if twin else name,
        draw=None if twin else lambda number: generate(stages, seed + number),
        is_overloaded=twin.is_overloaded if twin else False,
    )


def _same_measurement(
    row: dict[str, str], workload: str, published: dict[Key, float], request_cases: list[Case]
) -> Case | None:
    """Return the run given by its requests that these aggregates summarise: equal settings, means equal to 0.1 %."""
    for case in request_cases:
        if (case.model, case.tensor_parallel, case.workload) != (row["model"], int(row["tp"]), workload):
            continue
        means = [(published.get((WHOLE_RUN, m)), case.measured.get((WHOLE_RUN, m))) for m in ("e2e_mean", "ttft_mean")]
        if all(a is not None and b is not None and abs(a - b) < 1e-3 * abs(b) for a, b in means):
            return case
    return None


def generate(stages: list[dict[str, str]], seed: int) -> Requests:
    """Return a workload like the load generator's: rate x duration Poisson arrivals a stage, prompts in a cycle."""
    rng = np.random.default_rng(seed)
    arrivals: list[FloatArray] = []
    labels: list[Int64Array] = []
    start_s = 0.0
    for number, stage in enumerate(sorted(stages, key=lambda row: int(row["stage"]))):
        duration_s = float(stage["duration_s"])
        count = round(float(stage["rate_rps"]) * duration_s)
        arrivals.append(start_s + np.sort(rng.uniform(0.0, duration_s, count)))
        labels.append(np.full(count, number, np.int64))
        start_s += duration_s
    arrival_s = np.concatenate(arrivals)
    nominal = RETOKENIZED * (float(stages[0]["system_prompt_len"]) + float(stages[0]["question_len"]))
    cycle = np.maximum(1, np.rint(rng.normal(nominal, LENGTH_SPREAD_TOKENS, PROMPT_CYCLE))).astype(np.int64)
    ids = np.arange(len(arrival_s), dtype=np.int64) % PROMPT_CYCLE
    outputs = np.full(len(arrival_s), int(stages[0]["output_len"]), np.int64)
    return Requests(arrival_s, cycle[ids], outputs, np.concatenate(labels), prompt_ids=ids)


def _peer_errors(path: Path) -> dict[tuple[str, str], dict[str, dict[Key, float]]]:
    """Return other simulators' errors in percent, by run and simulator; their ITL stands beside our TPOT."""
    found: dict[tuple[str, str], dict[str, dict[Key, float]]] = defaultdict(lambda: defaultdict(dict))
    if not path.exists():
        return {}
    for row in read_rows(path, ("set", "simulator", "exp_id", "stage", "metric", "ape_pct")):
        if row["ape_pct"]:
            metric = row["metric"].replace("itl_", "tpot_")
            found[row["set"], row["exp_id"]][row["simulator"]][int(row["stage"]), metric] = float(row["ape_pct"])
    return {run: dict(by_simulator) for run, by_simulator in found.items()}
