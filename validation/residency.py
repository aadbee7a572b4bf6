"""vLLM 0.23 on one H100 under Poisson load, below and far above saturation, request by request.

The client never has more than ``client_max_concurrency`` requests in flight: above saturation it is a closed loop, so
the replay takes the scheduled arrivals and models that client.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np

from cluster_sim.calibration.case import Case, Requests
from cluster_sim.calibration.latency_figures import figures
from cluster_sim.calibration.tables import column, read_json, read_rows
from validation.scoring import Skipped

DATASET: Final = "residency-qwen3-14b-vllm023"
LAG_OF_SATURATION_S: Final = 1.0
"""A client that lags behind its schedule by more was held back by its limit of requests in flight."""


def load_residency(folder: Path) -> tuple[list[Case], list[Skipped]]:
    """Load every cell of the folder."""
    server = read_json(folder / "server_config.json")
    cases: list[Case] = []
    skipped: list[Skipped] = []
    for path in sorted(folder.glob("*.requests.csv.gz")):
        run = path.name.removesuffix(".requests.csv.gz")
        try:
            cases.append(_case(run, path, server))
        except (KeyError, ValueError) as error:
            skipped.append(Skipped(DATASET, run, f"{type(error).__name__}: {error}"))
    return cases, skipped


def _case(run: str, path: Path, server: dict[str, Any]) -> Case:
    names = ("scheduled_arrival_s", "send_s", "input_tokens", "output_tokens", "ttft_s", "e2e_s")
    rows = read_rows(path, names)
    rows.sort(key=lambda row: float(row["scheduled_arrival_s"]))
    scheduled, sent = column(rows, "scheduled_arrival_s"), column(rows, "send_s")
    outputs = column(rows, "output_tokens").astype(np.int64)
    stage = np.zeros(len(rows), np.int64)
    requests = Requests(scheduled, column(rows, "input_tokens").astype(np.int64), outputs, stage)
    is_saturated = float(np.nanmax(sent - scheduled)) > LAG_OF_SATURATION_S
    return Case(
        dataset=DATASET,
        run=run,
        model=server["model"],
        device=server["gpu"],
        tensor_parallel=int(server["tensor_parallel_size"]),
        workload=run.replace("__patched", "").replace("__vanilla", "") + (" (saturated)" if is_saturated else ""),
        requests=requests,
        engine={
            "kind": "vllm_v1",
            "version": str(server["vllm_version"]),
            "max_num_seqs": int(server["max_num_seqs"]),
            "max_num_batched_tokens": int(server["max_num_batched_tokens"]),
            "max_model_len": int(server["max_seq_len"]),
            "block_size": int(server["block_size"]),
            "num_kv_blocks": int(server["num_gpu_blocks"]),
            "enable_prefix_caching": False,
            "gpu_memory_utilization": float(server["gpu_memory_utilization"]),
        },
        in_flight_limit=int(server["client_max_concurrency"]),
        measured=figures(column(rows, "ttft_s"), column(rows, "e2e_s"), sent, outputs, stage),
        fold=run.replace("__patched", "").replace("__vanilla", ""),
    )
