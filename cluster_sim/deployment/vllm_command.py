"""``vllm serve`` for a pool: the command line that starts each of its replicas.

A flag is printed where the value differs from what the engine's version takes without it, and only if that version has
the flag.  It is the reverse of the import of such a command: ``cluster-sim import vllm-serve`` gives the pool back.
"""

from typing import Any, Final

from cluster_sim.config.schema.fleet import Pool
from cluster_sim.deployment.engine_flags import NUMBERS, QUANTIZATIONS, SWITCHES
from cluster_sim.hardware.device import load_device
from cluster_sim.hardware.model import load_model
from cluster_sim.serving.schedulers.vllm_options import HYBRID_SINCE, RESERVE_SINCE

ENGINE: Final = "vllm_v1"
SINCE: Final[dict[str, tuple[int, ...]]] = {
    "async-scheduling": (0, 10),
    "disable-hybrid-kv-cache-manager": HYBRID_SINCE,
    "scheduler-reserve-full-isl": RESERVE_SINCE,
    "prefill-schedule-interval": (0, 23),
}
"""First version that has a flag, where not every one has it; of the last one the newest version that was read."""
_FLAGS: Final = {**NUMBERS, **SWITCHES, "gpu-memory-utilization": "gpu_memory_utilization"}
_QUANTIZATIONS: Final = {dtype: method for method, dtype in reversed(QUANTIZATIONS.items())}


def repository_of(pool: Pool) -> str:
    """Return the repository of a pool's model on Hugging Face, or what the study names if its file has none."""
    return load_model(pool.model).hf_id or pool.model


def vllm_flags(pool: Pool) -> list[str]:
    """Return the flags of a pool whose engine's defaults are filled in.

    Raises ValueError for another engine than vLLM's, and for a value that the pool's version has no flag for.
    """
    engine: Any = pool.engine
    if engine.kind != ENGINE:
        raise ValueError(f"pool {pool.name} runs {engine.kind}, not vLLM")
    model = load_model(pool.model)
    flags = [f"--tensor-parallel-size={pool.tensor_parallel}"]
    flags += [f"--pipeline-parallel-size={pool.pipeline_parallel}"] if pool.pipeline_parallel > 1 else []
    flags += [f"--data-parallel-size={pool.data_parallel}"] if pool.data_parallel > 1 else []
    flags += ["--enable-expert-parallel"] if pool.expert_parallel > 1 else []
    if engine.max_model_len not in (None, model.max_position_embeddings):
        flags.append(f"--max-model-len={engine.max_model_len}")
    changed = _changed_options(pool)
    for flag, option in _FLAGS.items():
        value = getattr(engine, option)
        if option not in changed:
            continue
        if flag in SINCE and _release(engine.version) < SINCE[flag]:
            raise ValueError(f"vLLM {engine.version} has no flag for engine.{option}: {value}")
        if flag in SWITCHES:
            flags.append(f"--{'' if value else 'no-'}{flag}")
        else:
            flags.append(f"--{flag}={value:g}" if isinstance(value, float) else f"--{flag}={value}")
    flags += [f"--kv-offloading-size={engine.kv_offload.cpu_gib:g}"] if engine.kv_offload is not None else []
    flags += ["--kv-cache-dtype=fp8"] if engine.kv_cache_dtype == "fp8" else []
    method = _QUANTIZATIONS.get(engine.quantization or "")
    flags += [f"--quantization={method}"] if method else []
    flags += [f"--scheduling-policy={engine.policy}"] if engine.policy == "priority" else []
    return flags


def serve_command(pool: Pool) -> str:
    """Return the whole command, one flag a line; raises ValueError as ``vllm_flags`` does."""
    return " \\\n  ".join([f"vllm serve {repository_of(pool)}", *vllm_flags(pool)])


def _changed_options(pool: Pool) -> set[str]:
    """Return the options with a flag whose value is not what this version takes beside the other values printed.

    Defaults depend on one another, so what is printed grows until everything else follows from it.
    """
    engine: Any = pool.engine
    device, model = load_device(pool.device), load_model(pool.model)
    blank = {option: type(engine).model_fields[option].get_default() for option in _FLAGS.values()}
    printed: set[str] = set()
    while True:
        left = {option: value for option, value in blank.items() if option not in printed}
        taken = engine.model_copy(update=left).resolved(device, model)
        found = {option for option in left if getattr(taken, option) != getattr(engine, option)}
        # None: a switch that is off unless it is said, or a number that follows from the memory.
        found -= {option for option in found if getattr(taken, option) is None and not getattr(engine, option)}
        if not found:
            return printed
        printed |= found


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
