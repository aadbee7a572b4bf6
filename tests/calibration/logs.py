"""Logs of a server with known coefficients, as a table and as vLLM writes them."""

from pathlib import Path

from cluster_sim.hardware.batch_shape import BatchShape
from cluster_sim.hardware.device import load_device
from cluster_sim.hardware.predictors.calibration_file import load_calibration
from cluster_sim.hardware.predictors.kinds.physical import PhysicalPredictor
from cluster_sim.units import NS_PER_S
from tests.hardware.replicas import hardware

HEADER = "t,prompt_throughput,gen_throughput,running,waiting,kv_cache_pct"
LINE = (
    "(APIServer pid=7) INFO 11-30 16:{minute:02d}:{second:02d} [loggers.py:248] Engine {engine:03d}: Avg prompt "
    "throughput: 0.0 tokens/s, Avg generation throughput: {rate:.1f} tokens/s, Running: {running} reqs, Waiting: 0 "
    "reqs, GPU KV cache usage: {usage:.1f}%, Prefix cache hit rate: 25.0%"
)
CACHE_TOKENS = 400_000
CONTEXT = 1000


def step_s(running: int, **changes: float) -> float:
    """Return a decode step of Llama-3.1-8B on H100 with the shipped coefficients but for ``changes``."""
    coefficients = load_calibration("vllm").resolve(load_device("h100-sxm"), "0.15").model_copy(update=changes)
    predictor = PhysicalPredictor(coefficients, hardware("llama-3.1-8b"))
    return predictor.step_ns(BatchShape(decodes=running, decode_kv_tokens=running * CONTEXT)) / NS_PER_S


def table(loads: list[int], **changes: float) -> str:
    """Return a log of ten seconds at each load, without prompts."""
    rows = [HEADER]
    for load in loads:
        rate, usage = load / step_s(load, **changes), 100 * load * CONTEXT / CACHE_TOKENS
        rows += [f"{len(rows) + second},0,{rate},{load},0,{usage}" for second in range(10)]
    return "\n".join(rows) + "\n"


def vllm_log(loads: list[int]) -> str:
    """Return the same as vLLM writes it, every second line of a second engine."""
    rows = ["INFO 11-30 15:59:59 [core.py:77] Initializing a V1 LLM engine (v0.15.1) with config: ..."]
    rows += [f"INFO 11-30 15:59:59 [kv_cache_utils.py:1234] GPU KV cache size: {CACHE_TOKENS:,} tokens"]
    for number, load in enumerate(load for load in loads for _ in range(10)):
        usage = 100 * load * CONTEXT / CACHE_TOKENS
        minute, second = divmod(10 * number, 60)
        for engine in (0, 1):
            row = {"minute": minute, "second": second, "engine": engine, "running": load, "usage": usage}
            rows.append(LINE.format(**row, rate=load / step_s(load)))
        rows.append('INFO:     10.0.0.1:5 - "POST /v1/completions HTTP/1.1" 200 OK')
    return "\n".join(rows)


def written(folder: Path, text: str) -> Path:
    """Return a file with a text."""
    path = folder / "server.log"
    path.write_text(text, encoding="utf-8")
    return path
