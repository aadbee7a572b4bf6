"""Files of other tools as subjects of the fuzzer: deployments, results of benchmarks, measured tables, picker files."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tests.calibration.logs import table, vllm_log
from tests.calibration.test_benchmark_results import aiperf, detailed
from tests.calibration.test_prometheus_window import answer
from tests.deployment.test_helm_values import CHART, STACK
from tests.deployment.test_kserve import DEPLOYMENT, LLM_SERVICE, SERVICE
from tests.deployment.test_metrics_page import PAGE
from tests.deployment.test_vllm_serve import MODEL
from tests.fuzz.subject import CASES, Subject, base_study, file_contents, study_file
from tests.hardware.profiling.test_import import write_llmservingsim
from tests.small_run import run_small

COMMAND: Final = f"""\
# comment
export N=64
ARGS="--max-num-seqs $N"
sudo docker run -e T=$T vllm/vllm-openai:v0.15.0 --model {MODEL} -tp 2 --max-model-len 8K $ARGS --max-num-seqs=64 \\
  --enable-prefix-caching --kv-cache-dtype fp8 > log 2>&1
"""


def deployments() -> Iterator[Subject]:
    """Yield a deployment of every format."""
    files = [
        ("kserve", "service.yaml", SERVICE),
        ("kserve", "llm_service.yaml", LLM_SERVICE),
        ("kubernetes", "deployment.yaml", DEPLOYMENT),
        ("production-stack", "stack.yaml", STACK),
        ("llm-d", "chart.yaml", CHART),
        ("metrics", "page.txt", PAGE),
        ("vllm-serve", "serve.sh", COMMAND),
    ]
    formats = {
        "kubernetes-manifest.yaml": "kubernetes",
        "llm-d-optimized-baseline.yaml": "llm-d",
        "values-02-basic-config.yaml": "production-stack",
        "values-04-multiple-models.yaml": "production-stack",
        "vllm-serve.txt": "vllm-serve",
    }
    shared = [(form, CASES / "deploy" / name) for name, form in formats.items()]
    files += [(form, path.name, path.read_text("utf-8")) for form, path in shared if path.is_file()]
    for form, name, text in files:
        arguments = ("import", form, name, "--device", "h100-sxm", "--allow-unmodelled")
        for options in ((), ("-o", "study-out.yaml"), ("--model", "llama-3-8b")):
            yield Subject("deployment", {name: text.encode()}, (name,), (*arguments, *options))


def benchmarks(folder: Path) -> Iterator[Subject]:
    """Yield results of benchmarks, which calibrate fits to and compare sets beside a run."""
    many = [0.01 * index for index in range(60)]
    vllm = detailed(
        num_prompts=60,
        completed=60,
        duration=3.0,
        input_lens=[100 + index for index in range(60)],
        output_lens=[5] * 60,
        ttfts=[0.1 + each for each in many],
        itls=[[0.02] * 4] * 60,
        start_times=many,
        errors=[""] * 60,
    )
    rows = "".join(f"{each},{100 + index},5,0.1,0.2\n" for index, each in enumerate(many))
    results: dict[str, bytes] = {
        "vllm.json": json.dumps(vllm).encode(),
        "aiperf.jsonl": "\n".join(json.dumps(aiperf(each)) for each in many).encode(),
        "window.json": json.dumps(answer()).encode(),
        "server.csv": table([2, 20, 80]).encode(),
        "server.log": vllm_log([2, 20, 80]).encode(),
        "table.csv": f"arrival_s,input_tokens,output_tokens,ttft_s,e2e_s\n{rows}".encode(),
    }
    for path in (*sorted((CASES / "bench").glob("*.json")), *sorted((CASES / "formats").iterdir())):
        if path.name != "README.md":
            results[path.name] = path.read_bytes()
    files = file_contents(run_small(folder).directory, "run")
    for name, content in results.items():
        arguments = ("calibrate", name, "--model", "llama-3.1-8b", "--device", "h100-sxm", "--out", "mine.yaml")
        yield Subject("benchmark", {name: content}, (name,), arguments)
        yield Subject("benchmark", {name: content} | files, (name,), ("compare", name, "run"))


def measured_tables(folder: Path) -> Iterator[Subject]:
    """Yield tables of measured operators, which profile commands import."""
    files = file_contents(write_llmservingsim(folder), "tables")
    arguments = ("profile", "import", "llmservingsim", "tables", "--model", "llama-3-8b", "--device", "h100-sxm")
    for name in files:
        yield Subject("measured table", files, (name,), (*arguments, "--out", "mine.parquet"))


def picker_files() -> Iterator[Subject]:
    """Yield configurations of the endpoint picker."""
    for path in sorted((CASES.parents[1] / "epp").glob("*.yaml")):
        study: dict[str, Any] = base_study(router={"policy": "endpoint_picker", "config": "epp.yaml"})
        files = study_file(study) | {"epp.yaml": path.read_bytes()}
        yield Subject("endpoint picker", files, ("epp.yaml",), ("validate", "study.yaml"))
        yield Subject("endpoint picker", files, ("epp.yaml",), ("run", "study.yaml", "--out", "out"))
