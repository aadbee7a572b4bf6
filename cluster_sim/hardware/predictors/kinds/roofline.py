"""Roofline, uncalibrated: each operator takes as long as its memory traffic or its arithmetic, whichever is longer.

Design: operators of a stage are the projections (one group: they share the ratio of weights to operations), the
routed experts (as many as n tokens are expected to activate), the head over the sampled positions, decode attention
(reads the cache once), prefill attention, the all-reduces of tensor parallelism (ring), and what does not scale:
kernel launches per layer and the engine's work per step and per sequence.  Small batches are padded to the sizes of
CUDA graphs.  Rates are the data sheet's times an efficiency typical of tuned kernels, not a measurement, so a run
says "uncalibrated roofline".
"""

from dataclasses import dataclass
from typing import Literal, Self

from pydantic import Field

from cluster_sim.hardware.cuda_graphs import graph_tokens
from cluster_sim.hardware.precision import weight_bytes
from cluster_sim.hardware.predictors.affine import AffinePredictor
from cluster_sim.hardware.predictors.attention_window import AttentionWindow, read_window
from cluster_sim.hardware.predictors.collectives import LINK_RATIO
from cluster_sim.hardware.predictors.predictor_interface import PREDICTORS, PredictorOptions
from cluster_sim.hardware.replica_hardware import ReplicaHardware
from cluster_sim.hardware.sharding import Shard, shards
from cluster_sim.units import NS_PER_S, NS_PER_US


@dataclass(frozen=True, slots=True)
class RooflineEfficiency:
    """Shares of the data sheet's rates that kernels reach, and the constant times."""

    gemm_memory_ratio: float = 0.85
    gemm_flops_ratio: float = 0.65
    attention_memory_ratio: float = 0.80
    attention_flops_ratio: float = 0.50
    link_ratio: float = LINK_RATIO
    step_us: float = 300.0
    """The engine's work per step that does not hide behind the device."""
    layer_us: float = 25.0
    """Kernel launches and small kernels per layer."""
    moe_layer_us: float = 50.0
    """Routing per layer with experts."""
    sequence_us: float = 5.0
    """Sampling and bookkeeping per sequence."""


class RooflineOptions(PredictorOptions):
    """Step times from the device's data sheet and the model's shape; nothing is measured."""

    kind: Literal["roofline"] = Field("roofline", description="Data-sheet figures.")


@PREDICTORS.register("roofline", RooflineOptions)
class RooflinePredictor(AffinePredictor):
    """Roofline for one (model, device, TP, PP); pure function of its arguments."""

    models_ranks = True
    models_imbalance = True
    models_power_caps = True
    models_links = True

    def __init__(self, hardware: ReplicaHardware, efficiency: RooflineEfficiency | None = None) -> None:
        """With several data-parallel ranks the answers are those of one of them, each of which has the same batch.

        Raises InputError for unknown dtypes.
        """
        model, device = hardware.model, hardware.device
        super().__init__(hardware.pipeline_parallel, window_tokens=read_window(model))
        self.label = "uncalibrated roofline"
        self._hardware = hardware
        self._model = model
        self._tensor_parallel = hardware.tensor_parallel
        self._efficiency = efficiency or RooflineEfficiency()
        self._tensor_link, self._stage_links = hardware.tensor_link, hardware.stage_links
        self._experts = hardware.experts
        self._shards: list[Shard] = shards(hardware)
        self._attention_windows = [AttentionWindow(model, part) for part in self._shards]
        self._flops = device.peak_flops(hardware.projection_dtype) * self._efficiency.gemm_flops_ratio
        self._expert_flops = device.peak_flops(hardware.expert_dtype) * self._efficiency.gemm_flops_ratio
        self._plain_flops = device.peak_flops(model.activation_dtype) * self._efficiency.gemm_flops_ratio
        self._attention_flops = device.peak_flops(model.activation_dtype) * self._efficiency.attention_flops_ratio
        self._bandwidth = device.memory_bandwidth_bytes_per_s * self._efficiency.gemm_memory_ratio
        self._attention_bandwidth = device.memory_bandwidth_bytes_per_s * self._efficiency.attention_memory_ratio
        self._activation_bytes = weight_bytes(model.activation_dtype)

    @classmethod
    def build(cls, options: RooflineOptions, hardware: ReplicaHardware) -> Self:  # noqa: ARG003
        """Return the roofline with typical efficiencies."""
        return cls(hardware)

    def tokens_cost(self, tokens: int, stage: int) -> float:
        """Return the projections, experts, all-reduces and constants of ``tokens`` tokens, ns."""
        return self.routed_cost(tokens, graph_tokens(tokens) * self._experts.ranks, stage)

    def routed_cost(self, tokens: int, routed_tokens: int, stage: int) -> float:
        """Return the same if the ranks together have ``routed_tokens`` tokens, ns."""
        part, model, efficiency = self._shards[stage], self._model, self._efficiency
        tokens = graph_tokens(tokens)
        expert_flops = 0.0
        moved = 0.0
        if part.moe_layers:
            moved = part.expert_weight_bytes * self._experts.activated_ratio(model, routed_tokens)
            expert_flops = (
                2.0 * part.moe_layers * model.num_experts_per_tok * model.expert_parameters / self._tensor_parallel
            )
        dense_flops = part.flops_per_token - expert_flops
        activations = 4.0 * part.layers * model.hidden_size * self._activation_bytes * tokens
        seconds = max((part.dense_weight_bytes + activations) / self._bandwidth, tokens * dense_flops / self._flops)
        if part.moe_layers:
            share = routed_tokens / self._experts.ranks
            experts_s = max(moved / self._bandwidth, share * expert_flops / self._expert_flops)
            seconds += experts_s * self._experts.imbalance_ratio + part.moe_layers * self._exchange_s(routed_tokens)
        seconds += self._all_reduce_s(tokens, part)
        seconds += 1e-6 * (part.layers * efficiency.layer_us + part.moe_layers * efficiency.moe_layer_us)
        return seconds * NS_PER_S + efficiency.step_us * NS_PER_US

    def sequences_cost(self, sequences: int, stage: int) -> float:
        """Return the states of constant size, and in the last stage the head and the sampler, ns."""
        part = self._shards[stage]
        states_ns = sequences * self._state_s(part) * NS_PER_S
        if not part.head_weight_bytes:
            return states_ns
        head_s = max(
            part.head_weight_bytes / self._bandwidth, sequences * part.head_flops_per_token / self._plain_flops
        )
        return head_s * NS_PER_S + sequences * self._efficiency.sequence_us * NS_PER_US + states_ns

    def _state_s(self, part: Shard) -> float:
        """Return the time of a token on a sequence's states, s: they are read and written, or computed if slower."""
        moved = 2.0 * part.state_bytes / self._attention_bandwidth
        return max(moved, part.state_flops_per_token / self._attention_flops)

    def kv_slopes(self, stage: int) -> tuple[float, float]:
        """Return ns per cached token, by bytes or by operations, whichever takes longer."""
        part = self._shards[stage]
        by_bytes = part.kv_bytes_per_token / self._attention_bandwidth * NS_PER_S
        by_flops = part.attention_flops_per_pair / self._attention_flops * NS_PER_S
        bytes_share, flops_share = part.windowed_kv_ratio, part.windowed_pairs_ratio
        full = max(by_bytes * (1.0 - bytes_share), by_flops * (1.0 - flops_share))
        return full, max(by_bytes * bytes_share, by_flops * flops_share)

    def chunk_cost(self, chunk_tokens: int, kv_tokens: int, stage: int) -> float:
        """Return causal attention of a chunk over the cache and itself, and its tokens' work on states but for one, ns.

        Windowed layers see the window only; one token of each chunk stands in ``sequences_cost``.
        """
        part = self._shards[stage]
        window = self._attention_windows[stage]
        pairs = window.pairs(chunk_tokens, kv_tokens)
        by_bytes = window.cache_tokens(kv_tokens) * part.kv_bytes_per_token / self._attention_bandwidth
        seconds = max(pairs * part.attention_flops_per_pair / self._attention_flops, by_bytes)
        if part.state_bytes:
            seconds += (chunk_tokens - 1) * part.state_flops_per_token / self._attention_flops
        return seconds * NS_PER_S

    def encoder_cost(self, encoder_tokens: int, stage: int) -> float:
        """Return the encoder's arithmetic, ns; the first stage has it."""
        if stage:
            return 0.0
        return (
            encoder_tokens * 2.0 * self._model.extra_parameters / self._tensor_parallel / self._plain_flops * NS_PER_S
        )

    def stage_link_ns(self, tokens: int, stage: int) -> int:
        """Return the time to hand the activations of ``tokens`` tokens to the next stage, ns."""
        link = self._stage_links[stage]
        moved = tokens * self._model.hidden_size * self._activation_bytes / self._tensor_parallel
        return round(
            link.latency_us * NS_PER_US + moved / (link.bandwidth_bytes_per_s * self._efficiency.link_ratio) * NS_PER_S
        )

    def layer_all_reduce_us(self, tokens: int) -> float:
        """Return the two all-reduces of one layer over ``tokens`` tokens, us."""
        return self._all_reduce_s(tokens, self._shards[0]) / self._shards[0].layers * 1e6

    def _exchange_s(self, routed_tokens: int) -> float:
        """Return the gathering and scattering of one layer's tokens between data-parallel ranks, s."""
        if self._experts.ranks == 1:
            return 0.0
        link = self._hardware.rank_link
        moved = self._experts.exchanged_bytes(self._model, routed_tokens, self._hardware.engine.kernels)
        return 2e-6 * link.latency_us + moved / (link.bandwidth_bytes_per_s * self._efficiency.link_ratio)

    def _all_reduce_s(self, tokens: int, part: Shard) -> float:
        """Return the time of two all-reduces a layer: 2 (t - 1) / t of the activations over the link, and a latency."""
        tp = self._tensor_parallel
        if tp == 1:
            return 0.0
        link = self._tensor_link
        moved = 2.0 * (tp - 1) / tp * tokens * self._model.hidden_size * self._activation_bytes
        return (
            2
            * part.layers
            * (link.latency_us * 1e-6 + moved / (link.bandwidth_bytes_per_s * self._efficiency.link_ratio))
        )
