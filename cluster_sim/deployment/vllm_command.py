"""``vllm serve`` for a pool: the command line that starts each of its replicas.

It is the reverse of the import of such a command: ``cluster-sim import vllm-serve`` gives the pool back.
"""

from typing import Any, Final

from cluster_sim.config.schema.fleet import Pool
from cluster_sim.deployment.engine_flags import NUMBERS, QUANTIZATIONS, SWITCHES
from cluster_sim.hardware.model import load_model

ENGINE: Final = "vllm_v1"
_LEFT_OUT: Final = frozenset({"prefill-schedule-interval", "block-size"})
"""Flags that newer versions alone know, printed only if the study sets them."""
_QUANTIZATIONS: Final = {dtype: method for method, dtype in reversed(QUANTIZATIONS.items())}


def repository_of(pool: Pool) -> str:
    """Return the repository of a pool's model on Hugging Face, or what the study names if its file has none."""
    return load_model(pool.model).hf_id or pool.model


def vllm_flags(pool: Pool, stated: frozenset[str] = frozenset()) -> list[str]:
    """Return the flags of a pool whose engine's defaults are filled in; ``stated`` are the options that a study sets.

    Raises ValueError for another engine than vLLM's.
    """
    engine: Any = pool.engine
    if engine.kind != ENGINE:
        raise ValueError(f"pool {pool.name} runs {engine.kind}, not vLLM")
    flags = [f"--tensor-parallel-size={pool.tensor_parallel}"]
    flags += [f"--pipeline-parallel-size={pool.pipeline_parallel}"] if pool.pipeline_parallel > 1 else []
    flags += [f"--data-parallel-size={pool.data_parallel}"] if pool.data_parallel > 1 else []
    flags += ["--enable-expert-parallel"] if pool.expert_parallel > 1 else []
    if "max_model_len" in stated and engine.max_model_len is not None:
        flags.append(f"--max-model-len={engine.max_model_len}")
    for flag, option in NUMBERS.items():
        value = getattr(engine, option, None)
        if value is not None and (flag not in _LEFT_OUT or option in stated):
            flags.append(f"--{flag}={value}")
    flags.append(f"--gpu-memory-utilization={engine.gpu_memory_utilization:g}")
    for flag, option in SWITCHES.items():
        if option in stated or option == "enable_prefix_caching":
            flags.append(f"--{'' if getattr(engine, option) else 'no-'}{flag}")
    flags += [f"--kv-offloading-size={engine.kv_offload.cpu_gib:g}"] if engine.kv_offload is not None else []
    flags += ["--kv-cache-dtype=fp8"] if engine.kv_cache_dtype == "fp8" else []
    method = _QUANTIZATIONS.get(engine.quantization or "")
    flags += [f"--quantization={method}"] if method else []
    flags += [f"--scheduling-policy={engine.policy}"] if engine.policy == "priority" else []
    return flags


def serve_command(pool: Pool, stated: frozenset[str] = frozenset()) -> str:
    """Return the whole command, one flag a line; raises ValueError as ``vllm_flags`` does."""
    return " \\\n  ".join([f"vllm serve {repository_of(pool)}", *vllm_flags(pool, stated)])
