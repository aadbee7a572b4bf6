"""The JSON of ``vllm bench serve --save-result``, with or without ``--save-detailed`` and ``--append-result``."""

from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np

from cluster_sim.calibration.benchmark_run import (
    BenchmarkRun,
    gamma_arrivals,
    note_failures,
    request_count,
    whole_run,
)
from cluster_sim.calibration.case import FloatArray, Int64Array, Requests
from cluster_sim.calibration.result_file import ResultDocument
from cluster_sim.calibration.result_format import RESULT_FORMATS, ResultFormatOptions
from cluster_sim.calibration.serving_lists import ServingLists, mean_tpot_s, mean_ttft_s, read_lists
from cluster_sim.errors import InputError

MEANS: Final = {"mean_ttft_ms": "ttft_mean", "mean_tpot_ms": "tpot_mean", "mean_e2el_ms": "e2e_mean"}


class VllmBenchFormat(ResultFormatOptions):
    """JSON of vllm bench serve, one object a run."""

    kind: Literal["vllm_bench"] = "vllm_bench"


@RESULT_FORMATS.register("vllm_bench", VllmBenchFormat)
class VllmBenchReader:
    """Reads every object of a file as a run."""

    keys = frozenset({"num_prompts", "completed", "request_rate", "total_input_tokens", "mean_ttft_ms", "model_id"})

    def recognises(self, first: object) -> bool:
        """Return whether a document counts its prompts."""
        return isinstance(first, dict) and "num_prompts" in first

    def read(self, documents: Sequence[ResultDocument], seed: int) -> list[BenchmarkRun]:
        """Return one run a document."""
        return [serving_run(document, seed, MEANS) for document in documents]


def serving_run(document: ResultDocument, seed: int, means: dict[str, str]) -> BenchmarkRun:
    """Return the run of one result of vLLM's or SGLang's benchmark."""
    lists = read_lists(document)
    failed = document.count("failed") or 0
    if lists is not None:
        count = request_count(document, float(len(lists.kept)), "completed")
        failed = lists.failed
    else:
        total = document.number("num_prompts")
        completed = document.number("completed")
        count = request_count(document, completed or total, "completed")
    rng = np.random.default_rng(seed)
    notes: list[str] = []
    prompts = _lengths(document, lists, "input_lens", "total_input_tokens", count, notes)
    outputs = _lengths(document, lists, "output_lens", "total_output_tokens", count, notes)
    arrival_s = _arrivals(document, lists, count, rng, notes)
    limit = document.limit("max_concurrency")
    run = BenchmarkRun(
        document.place(),
        Requests(arrival_s, prompts, outputs, np.zeros(count, np.int64)),
        _measured(document, lists, means),
        int(limit or 0),
        document.text_of("model_id"),
        notes=notes,
    )
    note_failures(run, failed, count + failed)
    return run


def _measured(document: ResultDocument, lists: ServingLists | None, means: dict[str, str]) -> dict[Any, float]:
    """Return the means of the file; where it has none, those of its lists."""
    measured = {}
    for name, metric in means.items():
        value = document.number(name)
        if value is not None and value > 0:
            measured[whole_run(metric)] = value / 1e3
    derived = (
        {"ttft_mean": mean_ttft_s(lists), "tpot_mean": mean_tpot_s(lists, document.number("duration"))} if lists else {}
    )
    for metric, found in derived.items():
        if found is not None and found > 0 and whole_run(metric) not in measured:
            measured[whole_run(metric)] = found
    has_first = any(key[1].startswith("ttft") for key in measured)
    has_step = any(key[1].startswith(("tpot", "e2e")) for key in measured)
    if not has_first or not has_step:
        raise InputError(
            f"{document.place()}: mean_ttft_ms and mean_tpot_ms are needed, and positive, or the lists of "
            "--save-detailed (ttfts, itls, output_lens)"
        )
    return measured


def _lengths(
    document: ResultDocument, lists: ServingLists | None, detailed: str, total: str, count: int, notes: list[str]
) -> Int64Array:
    """Return lengths request by request where they were saved, else the mean of all."""
    found = None if lists is None else lists.prompt_tokens if detailed == "input_lens" else lists.output_tokens
    if found is not None:
        return found
    drawn = _uniform_lengths(document, detailed, count)
    if drawn is not None:
        notes.append(f"{detailed} are not in the file: drawn from the benchmark's uniform range")
        return drawn
    tokens = document.count(total)
    if tokens is None:
        raise InputError(f"{document.place()}: neither {detailed} nor {total} is in the benchmark's output")
    notes.append(f"{detailed} are not in the file: every request has the mean")
    return np.full(count, max(1, round(tokens / count)), np.int64)


def _uniform_lengths(document: ResultDocument, detailed: str, count: int) -> Int64Array | None:
    """Return lengths as SGLang's random data set draws them, where the file says that it did."""
    if document.value("dataset_name") != "random":
        return None
    name = "random_input_len" if detailed == "input_lens" else "random_output_len"
    most, share = document.count(name), document.number("random_range_ratio")
    if most is None or share is None or most < 1 or not 0 <= share <= 1:
        return None
    seed = 1 if detailed == "input_lens" else 2
    return np.random.default_rng(seed).integers(max(1, int(most * share)), most + 1, count)


def _arrivals(
    document: ResultDocument, lists: ServingLists | None, count: int, rng: np.random.Generator, notes: list[str]
) -> FloatArray:
    """Return the saved sending times, else arrivals like the benchmark's: gamma gaps at its rate, or all at once."""
    if lists is not None and lists.start_s is not None:
        relative: FloatArray = lists.start_s - lists.start_s[0]
        return relative
    rate = document.limit("request_rate")
    if rate is None:
        return np.zeros(count)
    if rate <= 0:
        raise document.wrong(("request_rate",), 'a number above 0, or "inf"', rate)
    burstiness = document.number("burstiness")
    if burstiness is None:
        burstiness = 1.0
    if burstiness <= 0:
        raise document.wrong(("burstiness",), "a number above 0", burstiness)
    notes.append("start_times are not in the file: arrivals are drawn at its rate")
    return gamma_arrivals(count, rate, burstiness, rng)
