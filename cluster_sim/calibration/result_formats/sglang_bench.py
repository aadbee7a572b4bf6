"""The JSON lines of SGLang's ``bench_serving --output-file``, with or without ``--output-details``."""

from collections.abc import Sequence
from typing import Final, Literal

from cluster_sim.calibration.benchmark_run import BenchmarkRun, whole_run
from cluster_sim.calibration.result_file import ResultDocument
from cluster_sim.calibration.result_format import RESULT_FORMATS, ResultFormatOptions
from cluster_sim.calibration.result_formats.vllm_bench import serving_run

MEANS: Final = {
    "mean_ttft_ms": "ttft_mean",
    "median_ttft_ms": "ttft_p50",
    "mean_tpot_ms": "tpot_mean",
    "mean_e2e_latency_ms": "e2e_mean",
}
"""Older versions write the median of TTFT and the mean of E2E alone."""


class SglangBenchFormat(ResultFormatOptions):
    """JSON lines of SGLang's bench_serving, one a run."""

    kind: Literal["sglang_bench"] = "sglang_bench"


@RESULT_FORMATS.register("sglang_bench", SglangBenchFormat)
class SglangBenchReader:
    """Reads every line of a file as a run."""

    keys = frozenset({"completed", "dataset_name", "total_output_tokens_retokenized", "median_itl_ms", "backend"})

    def recognises(self, first: object) -> bool:
        """Return whether a document has the keys that only SGLang's benchmark writes."""
        return isinstance(first, dict) and "num_prompts" not in first and "total_output_tokens_retokenized" in first

    def read(self, documents: Sequence[ResultDocument], seed: int) -> list[BenchmarkRun]:
        """Return one run a line."""
        return [self._run(document, seed) for document in documents]

    def _run(self, document: ResultDocument, seed: int) -> BenchmarkRun:
        run = serving_run(document, seed, MEANS)
        if whole_run("ttft_mean") in run.measured:
            run.measured.pop(whole_run("ttft_p50"), None)
        backend = document.text_of("backend") or ""
        run.engine = "sglang" if backend.startswith("sglang") else None
        run.model = document.text_of("server_info", "model_path") or document.text_of("model_id")
        return run
