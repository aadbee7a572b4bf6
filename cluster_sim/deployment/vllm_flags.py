"""Flags of ``vllm serve``: those that a pool has, those that change nothing, and those that are not modelled.

Names are those of vLLM's command line, without the leading dashes.  ``--no-NAME`` switches a switch off.
"""

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["switch", "value", "values"]
"""Whether a flag stands alone, takes one value, or takes every token up to the next flag."""


@dataclass(frozen=True, slots=True)
class NotModelled:
    """A flag that changes results in a way that the simulator has not."""

    kind: Kind
    reason: str
    idle: tuple[str, ...] = ()
    """Values with which the flag does nothing; a switch does nothing when it is off."""


MODELLED: Final[dict[str, Kind]] = {
    "model": "value",
    "tensor-parallel-size": "value",
    "pipeline-parallel-size": "value",
    "data-parallel-size": "value",
    "enable-expert-parallel": "switch",
    "max-model-len": "value",
    "max-num-seqs": "value",
    "max-num-batched-tokens": "value",
    "gpu-memory-utilization": "value",
    "block-size": "value",
    "num-gpu-blocks-override": "value",
    "kv-cache-dtype": "value",
    "quantization": "value",
    "dtype": "value",
    "enable-prefix-caching": "switch",
    "enable-chunked-prefill": "switch",
    "long-prefill-token-threshold": "value",
    "async-scheduling": "switch",
    "enforce-eager": "switch",
    "kv-offloading-size": "value",
    "scheduling-policy": "value",
    "scheduler-reserve-full-isl": "switch",
    "prefill-schedule-interval": "value",
    "watermark": "value",
    "disable-hybrid-kv-cache-manager": "switch",
    "enable-lora": "switch",
    "max-loras": "value",
    "served-model-name": "values",
}
"""Flags that become part of a pool, or are judged by what the model is."""

ALIASES: Final[dict[str, str]] = {
    "tp": "tensor-parallel-size",
    "pp": "pipeline-parallel-size",
    "dp": "data-parallel-size",
    "ep": "enable-expert-parallel",
    "dcp": "decode-context-parallel-size",
    "pcp": "prefill-context-parallel-size",
    "dpl": "data-parallel-size-local",
    "dpn": "data-parallel-rank",
    "dpr": "data-parallel-start-rank",
    "dpa": "data-parallel-address",
    "dpp": "data-parallel-rpc-port",
    "dpb": "data-parallel-backend",
    "dph": "data-parallel-hybrid-lb",
    "dpe": "data-parallel-external-lb",
    "q": "quantization",
    "n": "nnodes",
    "r": "node-rank",
    "O": "compilation-config",
    "cc": "compilation-config",
    "sc": "speculative-config",
    "asc": "api-server-count",
}
"""Short forms, with one dash."""

WITHOUT_EFFECT: Final[dict[Kind, str]] = {
    "switch": """
        allow-credentials allow-deprecated-quantization aggregate-engine-logging calculate-kv-scales
        disable-access-log disable-fastapi-docs disable-frontend-multiprocessing disable-log-requests disable-log-stats
        disable-uvicorn-access-log enable-auto-tool-choice enable-force-include-usage enable-log-deltas
        enable-log-outputs enable-log-requests enable-prompt-tokens-details enable-request-id-headers
        enable-server-load-tracking enable-sleep-mode enable-ssl-refresh enable-tokenizer-info-endpoint
        exclude-tools-when-tool-choice-none fail-on-environ-validation h11-keep-alive headless
        language-model-only
        return-tokens-as-token-ids skip-tokenizer-init trust-remote-code trust-request-chat-template
        use-tqdm-on-load kv-cache-metrics cudagraph-metrics enable-mfu-metrics enable-logging-iteration-details
        ray-workers-use-nsight skip-mm-profiling interleave-mm-strings use-v2-block-manager show-hidden-metrics
        disable-nccl-for-dp-synchronization data-parallel-hybrid-lb data-parallel-external-lb
        disable-async-output-proc enable-layerwise-nvtx-tracing
    """,
    "value": """
        allowed-headers allowed-methods allowed-origins chat-template chat-template-content-format code-revision
        collect-detailed-traces config-format data-parallel-address data-parallel-backend data-parallel-rank
        data-parallel-rpc-port data-parallel-size-local data-parallel-start-rank disable-access-log-for-endpoints
        distributed-executor-backend download-dir guided-decoding-backend
        guided-decoding-disable-fallback h11-max-header-count h11-max-incomplete-event-size hf-config-path hf-token host
        ignore-patterns kv-cache-metrics-sample load-format log-config-file logits-processor-pattern logprobs-mode
        master-addr master-port max-cpu-loras max-log-len max-logprobs max-lora-rank
        max-parallel-loading-workers max-seq-len-to-capture model-impl model-loader-extra-config mm-encoder-tp-mode
        mm-processor-cache-gb mm-processor-cache-type mm-processor-kwargs media-io-kwargs nnodes node-rank
        observability-config otlp-traces-endpoint port prefix-caching-hash-algo reasoning-parser
        reasoning-parser-plugin response-role revision root-path safetensors-load-strategy seed
        show-hidden-metrics-for-version ssl-ca-certs ssl-cert-reqs ssl-certfile ssl-keyfile ssl-ciphers
        structured-outputs-config swap-space tokenizer tokenizer-mode tokenizer-pool-size tokenizer-revision
        tool-call-parser tool-parser-plugin tool-server uds uvicorn-log-level lora-dtype
        lora-extra-vocab-size limit-mm-per-prompt allowed-local-media-path generation-config-revision
        log-error-stack rope-theta
    """,
    "values": "api-key middleware lora-modules allowed-media-domains logits-processors default-mm-loras",
}
"""Flags that change nothing that a study predicts, by kind."""

NOT_MODELLED: Final[dict[str, NotModelled]] = {
    "additional-config": NotModelled("value", "settings of a hardware plug-in are not modelled", ("{}",)),
    "api-server-count": NotModelled("value", "one API server is modelled", ("1",)),
    "attention-backend": NotModelled("value", "step times are those of vLLM's own choice of kernels"),
    "attention-config": NotModelled("value", "step times are those of vLLM's own choice of kernels", ("{}",)),
    "all2all-backend": NotModelled("value", "step times are those of vLLM's own choice of kernels"),
    "compilation-config": NotModelled("value", "step times are those of vLLM's own compilation", ("{}", "2", "3")),
    "optimization-level": NotModelled("value", "step times are those of vLLM's own compilation", ("2",)),
    "config": NotModelled("value", "flags of another file are not read; put them into this one"),
    "convert": NotModelled("value", "only generation is modelled", ("auto", "none")),
    "cpu-offload-gb": NotModelled("value", "weights in host memory are not modelled", ("0", "0.0")),
    "cpu-offload-params": NotModelled("values", "weights in host memory are not modelled"),
    "cp-kv-cache-interleave-size": NotModelled("value", "context parallelism is not modelled", ("1",)),
    "cuda-graph-sizes": NotModelled("values", "step times are those of vLLM's own CUDA graphs"),
    "cudagraph-capture-sizes": NotModelled("values", "step times are those of vLLM's own CUDA graphs"),
    "max-cudagraph-capture-size": NotModelled("value", "step times are those of vLLM's own CUDA graphs"),
    "dbo-decode-token-threshold": NotModelled("value", "overlapped half-batches are not modelled"),
    "dbo-prefill-token-threshold": NotModelled("value", "overlapped half-batches are not modelled"),
    "decode-context-parallel-size": NotModelled("value", "context parallelism is not modelled", ("1",)),
    "prefill-context-parallel-size": NotModelled("value", "context parallelism is not modelled", ("1",)),
    "device": NotModelled("value", "only GPUs of the library are modelled", ("auto", "cuda")),
    "disable-cascade-attn": NotModelled("switch", "step times are those of vLLM's own choice of kernels"),
    "disable-chunked-mm-input": NotModelled("switch", "requests are text"),
    "disable-custom-all-reduce": NotModelled("switch", "step times are those of vLLM's own all-reduce"),
    "disable-sliding-window": NotModelled("switch", "attention windows follow the model"),
    "ec-transfer-config": NotModelled("value", "encoders apart from the model are not modelled", ("{}",)),
    "enable-dbo": NotModelled("switch", "overlapped half-batches are not modelled"),
    "enable-elastic-ep": NotModelled("switch", "a changing number of ranks is not modelled"),
    "enable-eplb": NotModelled("switch", "moving experts while serving is not modelled"),
    "enable-flashinfer-autotune": NotModelled("switch", "step times are those of vLLM's own choice of kernels"),
    "enable-prompt-embeds": NotModelled("switch", "prompts are tokens"),
    "enable-mm-embeds": NotModelled("switch", "prompts are tokens"),
    "eplb-config": NotModelled("value", "moving experts while serving is not modelled", ("{}",)),
    "num-redundant-experts": NotModelled("value", "copies of experts are not modelled", ("0",)),
    "expert-placement-strategy": NotModelled("value", "experts are placed in order", ("linear",)),
    "fully-sharded-loras": NotModelled("switch", "adapters cost their loading only"),
    "generation-config": NotModelled("value", "sampling follows the model's own defaults", ("auto",)),
    "override-generation-config": NotModelled("value", "sampling follows the model's own defaults", ("{}",)),
    "hf-overrides": NotModelled(
        "value", "the model's own config.json counts; give a changed one with --model", ("{}",)
    ),
    "rope-scaling": NotModelled(
        "value", "the model's own config.json counts; give a changed one with --model", ("{}",)
    ),
    "kernel-config": NotModelled("value", "step times are those of vLLM's own choice of kernels", ("{}",)),
    "moe-backend": NotModelled("value", "step times are those of vLLM's own choice of kernels", ("auto",)),
    "kv-cache-memory-bytes": NotModelled("value", "set engine.num_kv_blocks in the study instead"),
    "kv-events-config": NotModelled("value", "cache events are not modelled", ("{}",)),
    "kv-offloading-backend": NotModelled("value", "only vLLM's own connector is modelled", ("native",)),
    "kv-sharing-fast-prefill": NotModelled("switch", "layers that share KV are not modelled"),
    "kv-transfer-config": NotModelled("value", "moving KV between engines or tiers is not modelled", ("{}",)),
    "mamba-block-size": NotModelled("value", "states are kept as vLLM sizes them"),
    "mamba-cache-dtype": NotModelled("value", "states have the model's own type", ("auto",)),
    "mamba-cache-mode": NotModelled("value", "states are kept as vLLM keeps them", ("none",)),
    "mamba-ssm-cache-dtype": NotModelled("value", "states have the model's own type", ("auto",)),
    "max-long-partial-prefills": NotModelled("value", "one prompt at a time is cut by the budget", ("1",)),
    "max-num-partial-prefills": NotModelled("value", "one prompt at a time is cut by the budget", ("1",)),
    "mm-encoder-only": NotModelled("switch", "only generation is modelled"),
    "num-lookahead-slots": NotModelled("value", "speculation is set in the study", ("0",)),
    "num-scheduler-steps": NotModelled("value", "several steps at once are not modelled", ("1",)),
    "offload-backend": NotModelled("value", "weights in host memory are not modelled", ("auto",)),
    "offload-group-size": NotModelled("value", "weights in host memory are not modelled", ("0",)),
    "pooler-config": NotModelled("value", "only generation is modelled", ("{}",)),
    "override-pooler-config": NotModelled("value", "only generation is modelled", ("{}",)),
    "preemption-mode": NotModelled("value", "vLLM v1 computes a preempted request again", ("recompute",)),
    "runner": NotModelled("value", "only generation is modelled", ("auto", "generate")),
    "task": NotModelled("value", "only generation is modelled", ("auto", "generate")),
    "scheduler-delay-factor": NotModelled("value", "waiting for more requests is not modelled", ("0", "0.0")),
    "scheduler-cls": NotModelled("value", "a scheduler of another package is not modelled", ("auto",)),
    "speculative-config": NotModelled(
        "value", "no file says how many drafts are accepted; set engine.speculative in the study", ("{}",)
    ),
    "speculative-model": NotModelled(
        "value", "no file says how many drafts are accepted; set engine.speculative in the study"
    ),
    "num-speculative-tokens": NotModelled(
        "value", "no file says how many drafts are accepted; set engine.speculative in the study"
    ),
    "stream-interval": NotModelled("value", "every token is sent as soon as it is there", ("1",)),
    "ubatch-size": NotModelled("value", "overlapped half-batches are not modelled", ("0",)),
    "weight-transfer-config": NotModelled("value", "changing weights while serving is not modelled", ("{}",)),
    "worker-cls": NotModelled("value", "a worker of another package is not modelled", ("auto",)),
    "dcp-comm-backend": NotModelled("value", "context parallelism is not modelled"),
    "dcp-kv-cache-interleave-size": NotModelled("value", "context parallelism is not modelled", ("1",)),
}
"""Flags that change results and are refused, unless their value is one that does nothing."""


def flag_kinds() -> dict[str, Kind]:
    """Return the kind of every flag that is known."""
    kinds: dict[str, Kind] = {name: flag.kind for name, flag in NOT_MODELLED.items()}
    for kind, names in WITHOUT_EFFECT.items():
        kinds |= dict.fromkeys(names.split(), kind)
    return kinds | MODELLED


ENVIRONMENT_WITHOUT_EFFECT: Final = frozenset(
    {
        "VLLM_API_KEY",
        "VLLM_CACHE_ROOT",
        "VLLM_CONFIG_ROOT",
        "VLLM_CONFIGURE_LOGGING",
        "VLLM_DO_NOT_TRACK",
        "VLLM_HOST_IP",
        "VLLM_HTTP_TIMEOUT_KEEP_ALIVE",
        "VLLM_LOGGING_CONFIG_PATH",
        "VLLM_LOGGING_LEVEL",
        "VLLM_LOGGING_PREFIX",
        "VLLM_LOG_STATS_INTERVAL",
        "VLLM_NIXL_SIDE_CHANNEL_HOST",
        "VLLM_NIXL_SIDE_CHANNEL_PORT",
        "VLLM_NO_USAGE_STATS",
        "VLLM_PORT",
        "VLLM_RPC_BASE_PATH",
        "VLLM_RPC_TIMEOUT",
        "VLLM_SERVER_DEV_MODE",
        "VLLM_USAGE_SOURCE",
        "VLLM_USE_MODELSCOPE",
        "VLLM_WORKER_MULTIPROC_METHOD",
        "VLLM_ALLOW_LONG_MAX_MODEL_LEN",
        "VLLM_ENGINE_READY_TIMEOUT_S",
        "VLLM_ENGINE_ITERATION_TIMEOUT_S",
        "VLLM_TORCH_PROFILER_DIR",
        "VLLM_SKIP_P2P_CHECK",
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING",
        "VLLM_DEBUG_LOG_API_SERVER_RESPONSE",
        "VLLM_ASSETS_CACHE",
        "VLLM_DISABLE_COMPILE_CACHE",
        "VLLM_LOOPBACK_IP",
        "VLLM_RINGBUFFER_WARNING_INTERVAL",
        "VLLM_TRACE_FUNCTION",
    }
)
"""Variables of vLLM that change nothing that a study predicts."""

ENVIRONMENT_IDLE: Final = {"VLLM_USE_V1": "1", "VLLM_USE_PRECOMPILED": "", "VLLM_ENABLE_V1_MULTIPROCESSING": "1"}
"""Variables of vLLM that change nothing with one value."""
