"""Energy: the power of a step by its operating point, and the joules of steps and of idle time.

Design: a GPU that runs a step draws ``TDP * min(cap, active + memory * u_m + flops * u_f)``, with u_m the bytes it
moves and u_f the operations it does, over the step's duration and the data sheet's rates; between steps it draws the
idle power.  The defaults of ``active``, ``memory`` and ``flops`` (0.29, 0.63, 1.27) are a least-squares fit to 51
medians of Splitwise's measured prompt and token power (Llama-2-70B and BLOOM-176B on 2, 4 and 8 A100-80GB), mean
error 11 %; ``idle`` is a rounded figure for loaded, idle data-centre GPUs.  Joules are rounded to whole microjoules
per step, so sums are exact and do not depend on how steps were grouped.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from cluster_sim.hardware.batch_shape import BatchShape, Int64Array
from cluster_sim.hardware.replica_hardware import ReplicaHardware
from cluster_sim.hardware.sharding import shards

UJ_PER_NS_W: Final = 1e-3
"""Microjoules of one watt over one nanosecond."""


class EnergyModel:
    """Energy of one replica's steps over all GPUs of a stage; a pure function of its arguments."""

    def __init__(self, hardware: ReplicaHardware, power_cap_w: float | None = None) -> None:
        """``power_cap_w`` bounds the draw of one GPU below its TDP; the step times must already reflect it.

        With several data-parallel ranks the energy is that of one of them.
        """
        device = hardware.device
        self._experts = hardware.experts
        self._model = hardware.model
        self._power = device.power
        self._gpus = hardware.tensor_parallel
        self._stages = hardware.pipeline_parallel
        self._tdp_w = device.tdp_w
        self._cap_w = min(device.tdp_w * device.power.cap_ratio, power_cap_w or float("inf"))
        self._bandwidth = device.memory_bandwidth_bytes_per_s
        self._flops = device.peak_flops(hardware.projection_dtype)
        self._shards = shards(hardware)

    @property
    def idle_power_w(self) -> float:
        """Power of the whole replica between steps."""
        return self._tdp_w * self._power.idle_ratio * self._gpus * self._stages

    def idle_energy_uj(self, duration_ns: int) -> int:
        """Return the energy of the whole replica over idle time, microjoules."""
        return round(self.idle_power_w * duration_ns * UJ_PER_NS_W)

    def step_power_w(self, shape: BatchShape, duration_ns: int, stage: int = 0) -> float:
        """Return the power of all GPUs of ``stage`` during a step, W."""
        return self.step_energy_uj(shape, duration_ns, stage) / (duration_ns * UJ_PER_NS_W)

    def step_energy_uj(self, shape: BatchShape, duration_ns: int, stage: int = 0) -> int:
        """Return the energy of all GPUs of ``stage`` over one step, microjoules."""
        part = self._shards[stage]
        sampled = shape.decodes + shape.draft_tokens + len(shape.prefills)
        moved, operations = self._fixed(shape.tokens, sampled, stage)
        moved += shape.decode_kv_tokens * part.kv_bytes_per_token
        operations += shape.decode_kv_tokens * part.attention_flops_per_pair
        for chunk, kv in shape.prefills:
            moved += kv * part.kv_bytes_per_token
            operations += chunk * (kv + 0.5 * (chunk + 1)) * part.attention_flops_per_pair
        demand_w = self._demand_w(moved, operations, duration_ns)
        return round(min(demand_w, self._cap_w) * self._gpus * duration_ns * UJ_PER_NS_W)

    def decode_run_energy_uj(
        self, decodes: int, kv_tokens: int, durations_ns: Int64Array, stage: int = 0
    ) -> Int64Array:
        """Return the energy of consecutive decode-only steps, int64[steps]: equal to repeated single steps."""
        part = self._shards[stage]
        moved_fixed, operations_fixed = self._fixed(decodes, decodes, stage)
        kv: npt.NDArray[np.float64] = np.arange(len(durations_ns), dtype=np.float64) * decodes
        kv += kv_tokens
        moved = kv * part.kv_bytes_per_token + moved_fixed
        operations = kv * part.attention_flops_per_pair + operations_fixed
        duration = durations_ns.astype(np.float64)
        power = self._power
        seconds = duration * 1e-9
        demand = moved / seconds / self._bandwidth * power.memory_ratio
        demand = demand + operations / seconds / self._flops * power.flops_ratio + power.active_ratio
        watts = np.minimum(demand * self._tdp_w, self._cap_w)
        return np.rint(watts * self._gpus * duration * UJ_PER_NS_W).astype(np.int64)

    def run_energy_j(
        self,
        end_ns: int,
        busy_ns: list[int],
        overrun_ns: list[int],
        iterations: int,
        tokens: int,
        decode_reads_tokens: int,
        prefill_pairs: int,
    ) -> float:
        """Return the energy of one replica over a whole run from its counters, J.

        ``busy_ns`` has the work of each stage up to the end and ``overrun_ns`` that beyond it; iterations and
        ``tokens``, all tokens computed, are those of both, but only the energy up to the end is returned.  Power is
        linear in the work, so the sums suffice; only the cap, and how many experts a step activates, are taken at the
        average step.
        """
        joules = 0.0
        idle_w = self._tdp_w * self._power.idle_ratio * self._gpus
        for stage, (busy, overrun) in enumerate(zip(busy_ns, overrun_ns, strict=True)):
            joules += idle_w * max(0, end_ns - busy) * 1e-9
            if not busy or not iterations:
                continue
            part = self._shards[stage]
            moved, operations = self._fixed(max(1, round(tokens / iterations)), 0, stage)
            moved = moved * iterations + decode_reads_tokens * part.kv_bytes_per_token
            operations = tokens * part.flops_per_token
            operations += (decode_reads_tokens + prefill_pairs) * part.attention_flops_per_pair
            demand_w = self._demand_w(moved, operations, busy + overrun)
            joules += min(demand_w, self._cap_w) * self._gpus * busy * 1e-9
        return joules

    def _fixed(self, tokens: int, sampled: int, stage: int) -> tuple[float, float]:
        """Return the bytes and operations of one GPU that do not depend on the cache."""
        part, model = self._shards[stage], self._model
        moved = part.dense_weight_bytes + part.head_weight_bytes
        if part.state_bytes:
            moved += 2.0 * sampled * part.state_bytes
        if part.moe_layers:
            moved += part.expert_weight_bytes * self._experts.activated_ratio(model, tokens * self._experts.ranks)
        return moved, tokens * part.flops_per_token + sampled * part.head_flops_per_token

    def _demand_w(self, moved: float, operations: float, duration_ns: int) -> float:
        """Return the power of one GPU before its cap: the same operations in the same order as on arrays."""
        power = self._power
        seconds = float(duration_ns) * 1e-9
        demand = moved / seconds / self._bandwidth * power.memory_ratio
        demand = demand + operations / seconds / self._flops * power.flops_ratio + power.active_ratio
        return demand * self._tdp_w
