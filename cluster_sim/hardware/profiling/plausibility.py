"""Plausibility: an operator profile against the roofline, before anybody trusts it.

Design: a kernel cannot beat the data sheet and is rarely a hundred times slower than it.  Layer operators together
are held against reading or multiplying the layer's weights, attention against reading its cache or computing its
pairs. Times that are a thousand times off - milliseconds taken for microseconds, seconds for milliseconds - fall out
on one side or the other.  Along each key times must not fall to less than half of an earlier, smaller key's: noise
and kernel switches do less.
"""

from typing import Final

from cluster_sim.errors import InputError
from cluster_sim.hardware.device import Device
from cluster_sim.hardware.engine_settings import default_settings
from cluster_sim.hardware.model import Model
from cluster_sim.hardware.predictors.operator_profile import KEYS, Measurement, OperatorProfile
from cluster_sim.hardware.replica_hardware import ReplicaHardware
from cluster_sim.hardware.sharding import shard

FASTEST: Final = 0.4
"""A measured time below this share of the data sheet's is refused."""
SLOWEST: Final = 60.0
"""A measured time beyond this multiple of the data sheet's, plus the allowance, is refused."""
ALLOWANCE_US: Final = 200.0
"""Launches and small kernels."""
LARGEST_FALL: Final = 0.45
FALL_FLOOR_US: Final = 20.0
"""Times below this may fall freely: they are launch latency."""


def check_profile(profile: OperatorProfile, model: Model, device: Device) -> None:
    """Raise InputError, with the row, for times that cannot be the device's, or that fall as work grows."""
    _check_layers(profile, model, device)
    _check_attention(profile, model, device)
    for operator in profile.operators:
        _check_monotone(profile, operator)


def _check_layers(profile: OperatorProfile, model: Model, device: Device) -> None:
    """Check the sum of layer operators at the smallest and largest token counts that all of them have."""
    part = shard(ReplicaHardware(model, device, default_settings(device), profile.info.tensor_parallel))
    weights = part.dense_weight_bytes / part.layers
    operations = (part.flops_per_token - _expert_flops(model, profile.info.tensor_parallel)) / part.layers
    totals: dict[int, float] = {}
    first: dict[int, Measurement] = {}
    names = [name for name in profile.operators if name.startswith("layer.")]
    counts: dict[int, int] = {}
    for name in names:
        for row in profile.of(name):
            totals[row.tokens] = totals.get(row.tokens, 0.0) + row.time_us * row.count
            counts[row.tokens] = counts.get(row.tokens, 0) + 1
            first.setdefault(row.tokens, row)
    shared = [tokens for tokens, count in counts.items() if count == len(names)]
    for tokens in {min(shared), max(shared)} if shared else set():
        by_memory = weights / device.memory_bandwidth_bytes_per_s
        by_arithmetic = tokens * operations / device.peak_flops(model.activation_dtype)
        _check_time(profile, first[tokens], totals[tokens], max(by_memory, by_arithmetic) * 1e6, "layer operators")


def _check_attention(profile: OperatorProfile, model: Model, device: Device) -> None:
    """Check attention with much work: the four rows with the most cached tokens or pairs of each kind."""
    part = shard(ReplicaHardware(model, device, default_settings(device), profile.info.tensor_parallel))
    bytes_per_token = part.kv_bytes_per_token / part.layers
    operations = part.attention_flops_per_pair / part.layers
    rows = profile.of("attention")
    decodes = sorted((r for r in rows if not r.prefill_tokens), key=lambda r: r.decodes * r.decode_kv_tokens)[-4:]
    for row in decodes:
        ideal = row.decodes * row.decode_kv_tokens * bytes_per_token / device.memory_bandwidth_bytes_per_s
        _check_time(profile, row, row.time_us, ideal * 1e6, "decode attention")

    def pairs(row: Measurement) -> float:
        return row.prefill_tokens * (row.prefill_kv_tokens + 0.5 * row.prefill_tokens)

    for row in sorted((r for r in rows if not r.decodes), key=pairs)[-4:]:
        ideal = pairs(row) * operations / device.peak_flops(model.activation_dtype)
        _check_time(profile, row, row.time_us, ideal * 1e6, "prefill attention")


def _check_time(profile: OperatorProfile, row: Measurement, us: float, ideal_us: float, what: str) -> None:
    where = f"{profile.path or 'profile'}, row {row.row}"
    if us < FASTEST * ideal_us:
        raise InputError(
            f"{where}: {what} take {us:g} us where {profile.info.device} needs at least {ideal_us:.3g} us by its data "
            "sheet; are the times in microseconds, and of this device and model?"
        )
    if us > SLOWEST * ideal_us + ALLOWANCE_US:
        raise InputError(
            f"{where}: {what} take {us:g} us where {profile.info.device} needs {ideal_us:.3g} us by its data sheet; "
            "are the times in microseconds, and of this device and model?"
        )


def _check_monotone(profile: OperatorProfile, operator: str) -> None:
    """Check that along each key, with the others fixed, no time is far below an earlier one."""
    rows = profile.of(operator)
    for index, key in enumerate(KEYS):
        if len({row.key[index] for row in rows}) < 2:
            continue
        highest: dict[tuple[int, ...], Measurement] = {}
        for row in sorted(rows, key=lambda row, index=index: row.key[index]):  # type: ignore[misc]
            others = row.key[:index] + row.key[index + 1 :]
            best = highest.get(others)
            if best is None or row.time_us > best.time_us:
                highest[others] = row
            elif best.time_us > FALL_FLOOR_US and row.time_us < LARGEST_FALL * best.time_us:
                raise InputError(
                    f"{profile.path or 'profile'}, row {row.row}: {operator} takes {row.time_us:g} us at {key} "
                    f"{row.key[index]}, but {best.time_us:g} us at {best.key[index]} (row {best.row}): times must not "
                    "fall as work grows"
                )


def _expert_flops(model: Model, tensor_parallel: int) -> float:
    if not model.is_moe:
        return 0.0
    return 2.0 * model.moe_layers * model.num_experts_per_tok * model.expert_parameters / tensor_parallel
