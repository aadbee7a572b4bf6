"""vLLM 0.6.0 on 8 H100, one row per server with the trace it served.

No chunked prefill and no prefix caching: prompts go first, whole, and decodes wait (vLLM's v0 scheduler).
"""

from pathlib import Path
from typing import Any, Final

import numpy as np

from cluster_sim.calibration.case import WHOLE_RUN, Case, Requests
from cluster_sim.calibration.tables import column, read_rows
from validation.contradictions import latency_contradiction
from validation.scoring import Skipped

DATASET: Final = "apex-vllm060-8xh100"


def load_apex(folder: Path) -> tuple[list[Case], list[Skipped]]:
    """Load every server whose trace is in the folder."""
    names = ("experiment", "model", "tensor_parallel", "trace", "mean_ttft_s", "mean_tpot_s", "mean_request_latency_s")
    cases: list[Case] = []
    skipped: list[Skipped] = []
    for row in read_rows(folder / "measured.csv", names):
        stem = row["trace"].removesuffix(".jsonl").replace("/", "__")
        path = folder / f"trace_{stem}.csv.gz"
        if not path.exists():
            skipped.append(Skipped(DATASET, row["experiment"], f"no trace {path.name}"))
            continue
        cases.append(_case(row, path))
    return cases, skipped


def _case(row: dict[str, str], path: Path) -> Case:
    rows = read_rows(path, ("start_s", "input_tokens", "output_tokens"))
    rows.sort(key=lambda row: float(row["start_s"]))
    prompts, outputs = column(rows, "input_tokens").astype(np.int64), column(rows, "output_tokens").astype(np.int64)
    is_fp8 = "fp8" in row["model"]
    engine: dict[str, Any] = {
        "kind": "vllm_v0",
        "version": "0.6.0",
        "max_num_seqs": 256,
        "max_num_batched_tokens": 32768,
        "max_model_len": 32768,
        "enable_chunked_prefill": False,
        "enable_prefix_caching": False,
        "gpu_memory_utilization": 0.97,
        "watermark_ratio": 0.01,
    }
    measured = {
        (WHOLE_RUN, "ttft_mean"): float(row["mean_ttft_s"]),
        (WHOLE_RUN, "tpot_mean"): float(row["mean_tpot_s"]),
        (WHOLE_RUN, "e2e_mean"): float(row["mean_request_latency_s"]),
    }
    return Case(
        dataset=DATASET,
        run=row["experiment"],
        model=row["model"],
        device="H100",
        tensor_parallel=int(row["tensor_parallel"]),
        workload=row["trace"].split("/")[0],
        requests=Requests(
            column(rows, "start_s"), np.maximum(prompts, 1), np.maximum(outputs, 1), np.zeros(len(rows), np.int64)
        ),
        engine=engine,
        quantization="fp8" if is_fp8 else None,
        kv_cache_dtype="fp8" if is_fp8 else None,
        measured=measured,
        contradiction=latency_contradiction(measured, float(outputs.mean()), len(rows)),
        fold=row["experiment"],
        calibration="vllm-0.6",
    )
