"""The ``/metrics`` page of a running vLLM server."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from cluster_sim.deployment.deployment_format import DEPLOYMENT_FORMATS, Deployment, FormatOptions, Source
from cluster_sim.deployment.engine_flags import KV_DTYPES, host_memory
from cluster_sim.deployment.findings import Findings
from cluster_sim.deployment.flag_values import amount
from cluster_sim.deployment.server import Argument, Server, Stated
from cluster_sim.errors import InputError

INFO: Final = "vllm:cache_config_info"
_SAMPLE: Final = re.compile(
    r'(?P<name>[A-Za-z_:][\w:]*)(?:\{(?P<labels>(?:[^"}]|"(?:[^"\\]|\\.)*")*)\})?\s+(?P<value>\S+)'
)
_LABEL: Final = re.compile(r'([A-Za-z_]\w*)="((?:[^"\\]|\\.)*)"')
_NONE: Final = frozenset({"None", "", "none"})
LABELS_WITHOUT_EFFECT: Final = frozenset(
    {
        "calculate_kv_scales",
        "cpu_kvcache_space_bytes",
        "engine",
        "is_attention_free",
        "num_cpu_blocks",
        "num_gpu_blocks_override",
        "prefix_caching_hash_algo",
        "sliding_window",
        "swap_space",
        "swap_space_bytes",
        "user_specified_block_size",
        "user_specified_mamba_block_size",
        "kv_cache_metrics",
        "kv_cache_metrics_sample",
        "kv_cache_memory_bytes",
        "hash_block_size",
        "kv_cache_dtype_skip_layers",
        "index",
    }
)
NOT_MODELLED: Final = {
    "cpu_offload_gb": ("weights in host memory are not modelled", {"0", "0.0"}),
    "kv_sharing_fast_prefill": ("layers that share KV are not modelled", {"False"}),
    "mamba_cache_dtype": ("states have the model's own type", {"auto"}),
    "mamba_ssm_cache_dtype": ("states have the model's own type", {"auto"}),
    "mamba_block_size": ("states are kept as vLLM sizes them", set[str]()),
    "mamba_cache_mode": ("states are kept as vLLM keeps them", {"none"}),
    "mamba_page_size_padded": ("states are kept as vLLM keeps them", set[str]()),
    "kv_offloading_backend": ("only vLLM's own connector is modelled", {"native"}),
}
"""Labels that change results, and the values with which they do not."""


class MetricsFormat(FormatOptions):
    """A page in Prometheus' text format with vllm:cache_config_info; the GPU is never on it."""

    kind: Literal["metrics"] = "metrics"


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of the page."""

    name: str
    labels: dict[str, str]
    value: float
    place: str


@DEPLOYMENT_FORMATS.register("metrics", MetricsFormat)
def read_metrics(source: Source, findings: Findings) -> Deployment:
    """Return the one server that the page is about."""
    samples = list(_samples(source))
    reports = [sample for sample in samples if sample.name == INFO]
    if not reports:
        programs = sorted({sample.name.partition(":")[0] for sample in samples if ":" in sample.name})
        raise InputError(
            f"{source.path}:1: {INFO} is missing, so this is no page of a vLLM server that has started; metrics are "
            f"of {', '.join(programs) or 'no serving engine'}"
        )
    first = reports[0]
    server = Server(name="main", place=first.place, engine=_engine(first, findings), is_report=True)
    server.model = next((_model(sample) for sample in samples if sample.labels.get("model_name")), None)
    names = sorted({sample.labels["model_name"] for sample in samples if sample.labels.get("model_name")})
    if len(names) > 1:
        findings.assume(first.place, "model_name", f"the first of {', '.join(names)}; --model says otherwise")
    if len(reports) > 1:
        server.engine["num_kv_blocks"] = min(_count(report, "num_gpu_blocks") for report in reports)
        server.arguments.append(Argument("data-parallel-size", str(len(reports)), reports[1].place, "engine"))
    _judge_features(samples, findings)
    for key in ("tensor_parallel", "max_num_seqs", "max_num_batched_tokens", "max_model_len"):
        text = "the page does not say it; " + (
            "1 unless --tensor-parallel says otherwise" if key == "tensor_parallel" else "the study's default holds"
        )
        findings.assume(first.place, key, text)
    return Deployment([server])


def _samples(source: Source) -> Iterator[Sample]:
    """Yield the samples of a page; InputError for a line that is none."""
    for number, line in enumerate(source.text.splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        found = _SAMPLE.match(text)
        try:
            value = float(found["value"]) if found else None
        except ValueError:
            value = None
        if found is None or value is None:
            raise InputError(f"{source.path}:{number}: not a line of Prometheus' text format: {text[:60]!r}")
        labels = dict(_LABEL.findall(found["labels"] or ""))
        yield Sample(found["name"], labels, value, f"{source.path}:{number}")


def _model(sample: Sample) -> Stated:
    return Stated(sample.labels["model_name"], sample.place)


def _engine(report: Sample, findings: Findings) -> dict[str, Any]:
    """Return the engine options that a server reports."""
    options: dict[str, Any] = {
        "num_kv_blocks": _count(report, "num_gpu_blocks"),
        "block_size": _count(report, "block_size"),
    }
    dtype = report.labels.get("cache_dtype", "auto")
    if dtype in KV_DTYPES:
        options["kv_cache_dtype"] = KV_DTYPES[dtype]
    else:
        findings.miss(report.place, f"cache_dtype {dtype}", f"of these some are modelled: {', '.join(KV_DTYPES)}")
    caching = report.labels.get("enable_prefix_caching", "True")
    if caching not in {"True", "False", "None"}:
        raise InputError(f"{report.place}: enable_prefix_caching: must be True or False; got {caching!r}")
    options["enable_prefix_caching"] = caching != "False"
    offloaded = report.labels.get("kv_offloading_size", "None")
    if offloaded not in _NONE:
        options |= host_memory(amount(Argument("kv-offloading-size", offloaded, report.place, "kv_offloading_size")))
    share = report.labels.get("gpu_memory_utilization")
    if share is not None:
        options["gpu_memory_utilization"] = _share(report, share)
    known = {"num_gpu_blocks", "block_size", "cache_dtype", "enable_prefix_caching", "gpu_memory_utilization"}
    known.add("kv_offloading_size")
    for label, value in report.labels.items():
        if label in known:
            continue
        reason, idle = NOT_MODELLED.get(label, ("", set[str]()))
        if reason and value not in idle | _NONE:
            findings.miss(report.place, f"{label} {value}", reason)
        elif reason or label in LABELS_WITHOUT_EFFECT:
            findings.ignore(report.place, f"{label} {value}")
        else:
            findings.wonder(report.place, f"{label} {value}", "unknown label")
    return options


def _count(report: Sample, label: str) -> int:
    text = report.labels.get(label)
    if text is None or not text.isdigit() or not int(text):
        right = "a whole number of at least 1"
        raise InputError(
            f"{report.place}: {label}: must be {right}; got {text!r}"
            if text is not None
            else f"{report.place}: {label}: is missing from {INFO}; it must be {right}"
        )
    return int(text)


def _share(report: Sample, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise InputError(
            f"{report.place}: gpu_memory_utilization: must be a number above 0 and at most 1; got {text!r}"
        )
    return value


def _judge_features(samples: list[Sample], findings: Findings) -> None:
    """Note features that other metrics betray."""
    for sample in samples:
        name = sample.name.removesuffix("_total")
        if name == "vllm:spec_decode_num_drafts" and sample.value > 0:
            findings.miss(sample.place, sample.name, "the server speculates; set engine.speculative in the study")
        elif name == "vllm:lora_requests_info" and sample.labels.get("max_lora", "0") not in {"0", ""}:
            findings.miss(sample.place, sample.name, "the server has adapters; set engine.lora in the study")
