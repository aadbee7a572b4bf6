"""Rows of aiconfigurator's table that their own figures, the data sheet, or other rows rule out.

- *Little's law*: of N requests in flight N (n - 1) TPOT / (TTFT + (n - 1) TPOT) decode at any time.  If that is less
  than half of those that the KV cache holds, the client or the engine kept others out, and N is not the batch.
- *Peak arithmetic*: a step reads weights and cache at the data sheet's bandwidth at best, and computes the prompts that
  replace finished requests at its peak: max(weights, operations) + attention.  A TPOT below that did less than stated:
  prompts were found in a cache, or tokens were drafted.
- *Equal rows*: the same configuration measured twice with TPOTs a factor of 1.3 apart: one of them ran with something
  that the table does not name.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from cluster_sim.hardware.replica_hardware import ReplicaHardware
from cluster_sim.hardware.sharding import shards

FEWEST_DECODING: Final = 0.5
"""Least share of the requests that could decode which does."""
MOST_APART: Final = 1.3
"""Most by which equal rows differ."""
CONFIGURATION: Final = (
    "backend",
    "model_path",
    "system",
    "precision",
    "isl",
    "osl",
    "tp_size",
    "attention_dp_size",
    "moe_tp_size",
    "moe_ep_size",
    "concurrency",
)


def decoding_share(ttft_s: float, tpot_s: float, output_tokens: int) -> float:
    """Return the share of its life for which a request decodes, which is that of the requests that do."""
    decode_s = (output_tokens - 1) * tpot_s
    return decode_s / (ttft_s + decode_s) if ttft_s + decode_s else 1.0


def row_contradiction(
    hardware: ReplicaHardware,
    in_flight: float,
    running: float,
    lengths: tuple[int, int],
    times_s: tuple[float, float],
) -> str:
    """Return why a row cannot be right; "" if it can.

    ``in_flight`` requests are a rank's share of the concurrency, of which its cache holds ``running``; ``lengths`` are
    (prompt, output) and ``times_s`` (TTFT, TPOT) as measured.
    """
    (prompt, output), (ttft_s, tpot_s) = lengths, times_s
    decoding = in_flight * decoding_share(ttft_s, tpot_s, output)
    if decoding < FEWEST_DECODING * min(in_flight, running):
        return (
            f"Little's law: {decoding:.0f} requests decode by the row's own figures, not {min(in_flight, running):.0f}"
        )
    least_s = least_step_s(hardware, decoding, prompt, output)
    if tpot_s < least_s:
        return f"peak arithmetic: a token takes at least {1e3 * least_s:.1f} ms, not {1e3 * tpot_s:.1f}"
    return ""


def least_step_s(hardware: ReplicaHardware, decoding: float, prompt_tokens: int, output_tokens: int) -> float:
    """Return the least time of a token at the data sheet's rates, s, with ``decoding`` requests on a rank."""
    part, device, model = shards(hardware)[0], hardware.device, hardware.model
    bandwidth = device.memory_bandwidth_bytes_per_s
    weights = part.dense_weight_bytes + part.head_weight_bytes
    if part.moe_layers:
        routed = max(1, round(decoding * hardware.experts.ranks))
        weights += part.expert_weight_bytes * hardware.experts.activated_ratio(model, routed)
    dtype = hardware.expert_dtype if part.moe_layers else hardware.projection_dtype
    tokens = decoding * (1 + prompt_tokens / output_tokens)
    arithmetic_s = tokens * part.flops_per_token / device.peak_flops(dtype)
    cached = decoding * (prompt_tokens + output_tokens / 2) * part.kv_bytes_per_token * (1.0 - part.windowed_kv_ratio)
    pairs = decoding / output_tokens * prompt_tokens**2 / 2 * (1.0 - part.windowed_pairs_ratio)
    attention_s = cached / bandwidth + pairs * part.attention_flops_per_pair / device.peak_flops(model.activation_dtype)
    return max(weights / bandwidth, arithmetic_s) + attention_s


def unequal_twins(rows: Sequence[dict[str, str]]) -> dict[str, str]:
    """Return the reason for every row whose configuration was measured again with a TPOT far away, by its id."""
    groups: dict[tuple[str, ...], list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[column] for column in CONFIGURATION)].append(row)
    found: dict[str, str] = {}
    for members in groups.values():
        times = [float(row["silicon_tpot_ms"]) for row in members]
        if max(times) > MOST_APART * min(times):
            reason = f"equal rows: TPOT {min(times):.1f} and {max(times):.1f} ms in one configuration"
            found |= {row["id"]: reason for row in members}
    return found
