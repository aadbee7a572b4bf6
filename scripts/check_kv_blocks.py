"""Check the memory plan: predicted KV blocks against the counts that real vLLM servers reported.

Run ``python scripts/check_kv_blocks.py DIR`` with DIR in the layout of the ground truth (``*.meta.json`` with
``engine_config.kv_blocks_total_gpu``, ``server_config.json`` with ``num_gpu_blocks``, ``meta.json`` with the same below
``kv_cache``).  Beside each error it prints the error with the plan's two constants (context and collective buffers)
refitted to all other engines: the honest estimate.

A stated ``gpu_memory_utilization`` that leaves no room for the reported blocks beside the weights alone cannot be what
the engine ran with: the default of its version is taken, and the line is marked with a star.
"""

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from cluster_sim.calibration.library_match import match_device, match_model
from cluster_sim.hardware.device import load_device
from cluster_sim.hardware.engine_settings import EngineSettings
from cluster_sim.hardware.memory_plan import COLLECTIVE_BYTES, CONTEXT_BYTES, MemoryPlan, plan_memory
from cluster_sim.hardware.model import Model, load_model, model_names
from cluster_sim.hardware.replica_hardware import ReplicaHardware
from cluster_sim.serving.schedulers.engine_options import engine_options
from validation.llmservingsim import known_kv_blocks

LEAST_BLOCKS: Final = 100
"""Blocks' worth of memory that the smallest profiling step and the runtime take for sure."""


@dataclass(frozen=True)
class Case:
    """One engine's report."""

    label: str
    plan: MemoryPlan
    reported: int
    is_split: bool

    def blocks(self, context_bytes: float, collective_bytes: float) -> float:
        """Return the blocks with other constants."""
        runtime = context_bytes + (collective_bytes if self.is_split else 0.0)
        free = self.plan.usable_bytes - self.plan.weights_bytes - self.plan.activation_bytes - runtime
        return free // self.plan.kv_bytes_per_block

    @property
    def leftover_bytes(self) -> float:
        """Return the memory that the report leaves for what the constants stand for."""
        used = self.plan.weights_bytes + self.plan.activation_bytes
        return self.plan.usable_bytes - used - self.reported * self.plan.kv_bytes_per_block


def find_model(hf_id: str) -> Model:
    """Return the library's model of a Hugging Face repository, base and instruct variants alike."""
    wanted = hf_id.rsplit("/", maxsplit=1)[-1].lower().removesuffix("-hf").removesuffix("-instruct")
    for name in model_names():
        model = load_model(name)
        known = model.hf_id.split("/")[-1].lower().removesuffix("-hf").removesuffix("-instruct")
        if known == wanted:
            return model
    raise SystemExit(f"no model of the library has hf_id {hf_id}")


def read_cases(root: Path) -> list[Case]:
    """Return one case per distinct engine under ``root``."""
    cases: dict[str, Case] = {}
    device = load_device("h100-sxm")
    for path in sorted(root.rglob("*.meta.json")):
        meta = json.loads(path.read_text(encoding="utf-8"))
        engine = meta.get("engine_config", {})
        if "kv_blocks_total_gpu" not in engine:
            continue
        settings = EngineSettings(
            engine["max_num_seqs"],
            engine["max_num_batched_tokens"],
            gpu_memory_utilization=engine["gpu_memory_utilization"],
        )
        degree = engine["tensor_parallel"]
        plan = plan_memory(ReplicaHardware(find_model(meta["model_id"]), device, settings, degree))
        label = f"{meta['model_id'].split('/')[-1]} TP{degree}"
        cases[label] = Case(label, plan, engine["kv_blocks_total_gpu"], degree > 1)
    for path in sorted(root.rglob("server_config.json")):
        meta = json.loads(path.read_text(encoding="utf-8"))
        settings = EngineSettings(
            meta["max_num_seqs"], meta["max_num_batched_tokens"], gpu_memory_utilization=meta["gpu_memory_utilization"]
        )
        degree = meta["tensor_parallel_size"]
        hardware = ReplicaHardware(find_model(meta["model"]), device, settings, degree)
        plan, star = plan_memory(hardware), ""
        if (plan.usable_bytes - plan.weights_bytes) // plan.kv_bytes_per_block < meta["num_gpu_blocks"] + LEAST_BLOCKS:
            pinned = engine_options(version=meta["vllm_version"]).pinned_memory_utilization
            plan = plan_memory(replace(hardware, engine=replace(settings, gpu_memory_utilization=pinned)))
            star = "*"
        label = f"{meta['model'].split('/')[-1]} TP{degree}{star}"
        cases[label] = Case(label, plan, meta["num_gpu_blocks"], degree > 1)
    for path in sorted(root.rglob("meta.json")):
        meta = json.loads(path.read_text(encoding="utf-8"))
        if not (blocks := known_kv_blocks(meta)):
            continue
        kwargs, degree = meta["engine_kwargs"], int(meta["engine_kwargs"].get("tensor_parallel_size") or 1)
        gpu = match_device(path.parent.name.split("__")[0])
        known = {
            name: kwargs.get(name) for name in ("max_num_seqs", "max_num_batched_tokens", "gpu_memory_utilization")
        }
        engine = engine_options(version=meta["vllm_version"], **known)
        hardware = ReplicaHardware(match_model(meta["model"]), gpu, engine.hardware_settings(gpu), degree)
        label = f"{meta['model'].split('/')[-1]} TP{degree} {gpu.name}"
        cases[label] = Case(label, plan_memory(hardware), blocks, degree > 1)
    return list(cases.values())


def refit(cases: list[Case]) -> tuple[float, float]:
    """Return (context, collective) bytes that leave no mean error; without a case of a kind, the plan's own."""
    single = [case.leftover_bytes for case in cases if not case.is_split and case.leftover_bytes > 0]
    context = mean(single) if single else float(CONTEXT_BYTES)
    split = [case.leftover_bytes - context for case in cases if case.is_split]
    return context, mean(split) if split else float(COLLECTIVE_BYTES)


def main(arguments: list[str]) -> int:
    """Print the table; return 1 when the mean error exceeds 2 %."""
    if len(arguments) != 1 or not Path(arguments[0]).is_dir():
        print(__doc__, file=sys.stderr)
        return 2
    cases = read_cases(Path(arguments[0]))
    print(f"{'engine':<32}{'reported':>9}{'predicted':>10}{'error':>8}{'left out':>10}")
    errors, left_out = [], []
    for case in cases:
        error = case.plan.kv_blocks / case.reported - 1
        honest = case.blocks(*refit([other for other in cases if other is not case])) / case.reported - 1
        errors.append(abs(error))
        left_out.append(abs(honest))
        print(f"{case.label:<32}{case.reported:>9}{case.plan.kv_blocks:>10}{error:>+8.2%}{honest:>+10.2%}")
    print(f"mean absolute error {mean(errors):.2%}; with each engine left out {mean(left_out):.2%}")
    return 0 if mean(left_out) <= 0.02 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
