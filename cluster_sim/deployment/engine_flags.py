"""Flags of vLLM as options of a pool's engine."""

from typing import Any, Final

from cluster_sim.deployment.findings import Findings
from cluster_sim.deployment.flag_values import amount, is_on, ratio, whole_number, wrong
from cluster_sim.deployment.server import Argument, Server
from cluster_sim.hardware.model import Model
from cluster_sim.hardware.precision import DTYPES

NUMBERS: Final = {
    "max-num-seqs": "max_num_seqs",
    "max-num-batched-tokens": "max_num_batched_tokens",
    "block-size": "block_size",
    "num-gpu-blocks-override": "num_kv_blocks",
    "prefill-schedule-interval": "prefill_schedule_interval",
}
SWITCHES: Final = {
    "enable-prefix-caching": "enable_prefix_caching",
    "enable-chunked-prefill": "enable_chunked_prefill",
    "async-scheduling": "async_scheduling",
    "enforce-eager": "enforce_eager",
    "disable-hybrid-kv-cache-manager": "disable_hybrid_kv_cache_manager",
    "scheduler-reserve-full-isl": "reserve_full_sequence",
}
KV_DTYPES: Final = {
    "auto": "auto",
    "bfloat16": "bf16",
    "bf16": "bf16",
    "float16": "bf16",
    "fp8": "fp8",
    "fp8_e4m3": "fp8",
    "fp8_e5m2": "fp8",
}
QUANTIZATIONS: Final = {"fp8": "fp8", "ptpc_fp8": "fp8", "fbgemm_fp8": "fp8", "experts_int8": "int8"}
"""Methods that quantise an unquantised model while it is loaded."""
CHECKPOINT_METHODS: Final = frozenset(
    {
        "awq",
        "awq_marlin",
        "gptq",
        "gptq_marlin",
        "gptq_bitblas",
        "compressed-tensors",
        "modelopt",
        "modelopt_fp4",
        "modelopt_mxfp8",
        "mxfp4",
        "bitsandbytes",
        "gguf",
        "auto-round",
        "aqlm",
        "quark",
        "hqq",
        "torchao",
        "moe_wna16",
        "inc",
        "bitblas",
        "deepspeedfp",
        "fp_quant",
        "petit_nvfp4",
        "tpu_int8",
        "cpu_awq",
        "ipex",
    }
)
"""Methods that read a quantised checkpoint."""


def host_memory(gib: float) -> dict[str, Any]:
    """Return the option of vLLM's offloading connector with so much host memory over all GPUs; none with 0."""
    return {"kv_offload": {"cpu_gib": gib}} if gib else {}


class EngineFlags:
    """The engine options of one server."""

    def __init__(
        self, server: Server, flags: dict[str, Argument], model: Model, added: str | None, findings: Findings
    ) -> None:
        """``added`` is a quantisation that the model's name says beside its library entry."""
        self._server = server
        self._flags = flags
        self._model = model
        self._added = added
        self._findings = findings

    def options(self) -> dict[str, Any]:
        """Return the options; raise InputError for a value that vLLM would refuse."""
        flags = self._flags
        options: dict[str, Any] = {NUMBERS[name]: whole_number(flags[name]) for name in NUMBERS if name in flags}
        options |= {SWITCHES[name]: is_on(flags[name]) for name in SWITCHES if name in flags}
        if "gpu-memory-utilization" in flags:
            options["gpu_memory_utilization"] = ratio(flags["gpu-memory-utilization"])
        if "watermark" in flags and flags["watermark"].value not in {"0", "0.0"}:
            options["watermark_ratio"] = ratio(flags["watermark"])
        if "long-prefill-token-threshold" in flags:
            options["long_prefill_token_threshold"] = whole_number(flags["long-prefill-token-threshold"], 0)
        if "kv-offloading-size" in flags:
            options |= host_memory(amount(flags["kv-offloading-size"]))
        options |= self._context() | self._policy() | self._kv_dtype() | self._quantization() | self._lora()
        self._judge_dtype()
        if "served-model-name" in flags:
            flag = flags["served-model-name"]
            self._findings.ignore(flag.place, f"{flag.written} {flag.value}")
        options = {**self._server.engine, **options}
        if not self._server.is_report and "enable_prefix_caching" not in options:
            options["enable_prefix_caching"] = not self._model.state_layers
            if self._model.state_layers:
                self._findings.assume(self._server.place, "prefix caching", "vLLM has it off for models with states")
        return options

    def _context(self) -> dict[str, int]:
        flag = self._flags.get("max-model-len")
        if flag is None:
            return {}
        if flag.value in {"auto", "-1"}:
            self._findings.assume(flag.place, f"{flag.written} {flag.value}", "the model's own context")
            return {}
        return {"max_model_len": whole_number(flag)}

    def _policy(self) -> dict[str, str]:
        flag = self._flags.get("scheduling-policy")
        if flag is None:
            return {}
        if flag.value not in {"fcfs", "priority"}:
            raise wrong(flag, "fcfs or priority")
        return {"policy": flag.value}

    def _kv_dtype(self) -> dict[str, str]:
        flag = self._flags.get("kv-cache-dtype")
        if flag is None:
            return {}
        dtype = KV_DTYPES.get(flag.value or "")
        if dtype is None:
            self._findings.miss(
                flag.place, f"{flag.written} {flag.value}", f"of these types some are modelled: {', '.join(KV_DTYPES)}"
            )
            return {}
        return {"kv_cache_dtype": dtype}

    def _quantization(self) -> dict[str, str]:
        flag = self._flags.get("quantization")
        added = {"quantization": self._added} if self._added else {}
        if flag is None or (flag.value or "").lower() in {"none", "null"}:
            return added
        method = (flag.value or "").lower()
        own = {self._model.projection_dtype, self._model.expert_dtype} - {self._model.activation_dtype}
        dtype = QUANTIZATIONS.get(method)
        setting = f"{flag.written} {flag.value}"
        if own and (method in CHECKPOINT_METHODS or dtype in own):
            types = " and ".join(sorted(own))
            self._findings.ignore(flag.place, setting, f"{self._model.name} is quantised to {types} by itself")
            return added
        if dtype is not None:
            return {"quantization": dtype}
        reason = f"{self._model.name} is not quantised in the library; give --model with the checkpoint's config.json"
        if method not in CHECKPOINT_METHODS:
            reason = f"the method is not known; known: {', '.join(QUANTIZATIONS)} and those of checkpoints"
        self._findings.miss(flag.place, setting, reason)
        return added

    def _lora(self) -> dict[str, Any]:
        enabled, most = self._flags.get("enable-lora"), self._flags.get("max-loras")
        if enabled is None or not is_on(enabled):
            for flag in (enabled, most):
                if flag is not None:
                    self._findings.ignore(flag.place, f"{flag.written} {flag.value}", "LoRA is not enabled")
            return {}
        self._findings.assume(enabled.place, enabled.written, "loading an adapter takes engine.lora.load_ms, 50 ms")
        return {"lora": {"max_loras": whole_number(most) if most is not None else 1}}

    def _judge_dtype(self) -> None:
        """Note the type of activations: another one of as many bits costs the same."""
        flag = self._flags.get("dtype")
        if flag is None:
            return
        setting = f"{flag.written} {flag.value}"
        wanted = DTYPES.get({"float": "float32"}.get(flag.value or "", flag.value or ""))
        if flag.value == "auto" or wanted == self._model.activation_dtype:
            self._findings.ignore(flag.place, setting, "is the model's own type")
        elif wanted is None:
            raise wrong(flag, "auto, half, float16, bfloat16, float or float32")
        elif {wanted, self._model.activation_dtype} <= {"fp16", "bf16"}:
            self._findings.ignore(flag.place, setting, "has as many bits as the model's own type")
        else:
            self._findings.miss(
                flag.place, setting, f"weights have the model's own type, {self._model.activation_dtype}"
            )
