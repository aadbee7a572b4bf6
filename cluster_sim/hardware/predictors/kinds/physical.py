"""Physical step model, calibrated: a roofline with measured efficiencies and the constants of a real engine.

Design: a step of one stage takes

    T = c_step + L c_layer + [t_w^p + t_f^p]^(1/p) + head + KV bytes / (e_k BW) + attention operations / (e_a F)
        + 2 L (a_ar + ring bytes / (e_ar link)) if TP > 1 + L_moe c_moe + L c_mla if attention is latent
        + L c_q if activations are quantised + P c_b if they are by blocks, for P projections
        + L (c_mix, and c_quant if activations are quantised) if a prefill is in the batch
        + L c_qk if queries and keys are normalised + c_sort + s c_voc V / BW if the model's sampling sorts
        + s c_seq + n c_tok + g + s g_seq

for n tokens and s sequences, with t_w = dense weights / (e_m BW) + expert weights (1 - (1 - k/E)^n) / (e_moe BW) and
t_f = operations / (e_f F); with e_x given experts stand apart, their reading and operations / (e_x F) added up.  Some
twenty coefficients serve every model, degree and batch of an engine and kernel class; they are fitted to end-to-end
results elsewhere and read here from a calibration.  The head is its own smooth maximum over s, so the sum separates
into parts of n, of s and of the cached tokens: decode steps are affine in the cache.

With CUDA graphs the CPU's work hides beside the GPU's, but for the gap G = g + s g_seq between steps where the next one
is planned only after the last (before asynchronous scheduling).  Without them (``enforce_eager``) the CPU launches
every kernel, ahead of the GPU where it can, and the step is

    G + max(T without G, L l + L_moe l_moe + s l_seq).

Some models choose experts in many small kernels instead of one (``router_kernels``); each costs its share of c_layer,
and of l to launch.  Those that a layer with a gated delta net has more than one with attention cost it too.

Scales by blocks depend on the input of the moment, so a kernel before the projection computes them; one scale of a
whole tensor is in the checkpoint, and the kernel before applies it.

Where GPUs hold whole experts, each step waits for the GPU with the most of them to read, and for that with the most
tokens to compute (``ExpertSharding.busiest_*``).

FlashAttention 2 packs the query heads that share a key head into one tile only where every sequence has one query and
the layer no sliding window (``seqlenq_ngroups_swapped`` in its ``flash_api.cpp``).  Otherwise each query head of a
decode fills one row of a tile of its own: the cached tokens then cost the arithmetic of whole tiles, or reading them
where that takes longer.  The heads of one key head run after each other over the whole batch, so where the L2 does not
hold that head's cache of all sequences, each of them reads it from memory.  (Operator tables of RTX PRO 6000 and RTX
4090, whose L2 is large, have the tiles: decode attention beside a chunk of 16 tokens takes 1.4 to 3.3 times as long, by
the query heads per key head; with 128 decodes on RTX 4090, whose 72 MB hold 140 thousand tokens of a key head, 2.3
times at 131 thousand and 3.8 to 4.0 times from 262 thousand on, four heads sharing a key head.  Phi-mini-MoE on A6000,
with 6 MB of L2 and a window in every layer, takes 0.85 us per cached token where one reading is 0.17 us at the data
sheet's rate.)
"""

import math
from typing import Final, Literal, Self

from pydantic import Field

from cluster_sim.hardware.cuda_graphs import graph_tokens
from cluster_sim.hardware.precision import weight_bytes
from cluster_sim.hardware.predictors.affine import AffinePredictor
from cluster_sim.hardware.predictors.attention_window import AttentionWindow, read_window
from cluster_sim.hardware.predictors.calibrated_source import CalibratedSource
from cluster_sim.hardware.predictors.calibration_file import load_calibration
from cluster_sim.hardware.predictors.coefficients import Coefficients
from cluster_sim.hardware.predictors.error_band import NO_BAND, ErrorBand
from cluster_sim.hardware.predictors.predictor_interface import PREDICTORS, PredictorOptions
from cluster_sim.hardware.replica_hardware import ReplicaHardware
from cluster_sim.hardware.sharding import Shard, shards
from cluster_sim.options import ProfileName
from cluster_sim.units import NS_PER_S, NS_PER_US

LAYER_KERNELS: Final = 13
"""Kernels of a dense layer: two norms, four projections and what lies between them, the cache's write and attention."""


DELTA_KERNELS: Final = 3
"""Kernels that a gated delta net has more than attention: four input projections instead of one, a convolution and a
gated norm, but no rotation and no write to a cache (``qwen3_5.py`` of SGLang 0.5.9, after vLLM's).
"""


class PhysicalOptions(PredictorOptions):
    """Step times from the physical step model with coefficients fitted to a real engine."""

    kind: Literal["physical"] = Field("physical", description="Calibrated physical step model.")
    profile: ProfileName = Field("vllm", description="Frozen coefficients: a name of conf/profiles or a file.")


@PREDICTORS.register("physical", PhysicalOptions)
class PhysicalPredictor(AffinePredictor):
    """The step model for one (coefficients, model, device, TP, PP, engine); a pure function of them."""

    models_ranks = True
    models_imbalance = True
    models_power_caps = True
    models_links = True
    models_eager = True

    def __init__(
        self,
        coefficients: Coefficients,
        hardware: ReplicaHardware,
        label: str = "physical",
        is_measured: bool = True,
        error_band: ErrorBand = NO_BAND,
    ) -> None:
        """``is_measured`` says whether the coefficients were fitted to such a configuration.

        With several data-parallel ranks the answers are those of one of them, each of which has the same batch.
        Raises InputError for unknown dtypes.
        """
        model, device = hardware.model, hardware.device
        super().__init__(hardware.pipeline_parallel, window_tokens=read_window(model), is_measured=is_measured)
        c = self.coefficients = coefficients
        self.label = label
        self.is_calibrated = True
        self.error_band = error_band
        self.hardware = hardware
        self._model = model
        self._tensor_parallel = hardware.tensor_parallel
        self.frontend_ns = round(c.frontend_us * NS_PER_US)
        self.frontend_ns_per_token = c.frontend_us_per_token * NS_PER_US
        self._all_reduce_extra_us = hardware.all_reduce_extra_us
        self._tensor_link, self._stage_links = hardware.tensor_link, hardware.stage_links
        self._experts = hardware.experts
        self._shards: list[Shard] = shards(hardware)
        self._attention_windows = [AttentionWindow(model, part) for part in self._shards]
        bandwidth, plain = device.memory_bandwidth_bytes_per_s, device.peak_flops(model.activation_dtype)
        short = {
            "fp8": (c.gemm_memory_fp8_ratio, c.gemm_flops_fp8_ratio),
            "fp4": (c.gemm_memory_fp4_ratio, c.gemm_flops_fp4_ratio),
        }
        gemm_memory_ratio, gemm_flops_ratio = short.get(hardware.projection_dtype, (0.0, 0.0))
        self._dense_rate = bandwidth * (gemm_memory_ratio or c.gemm_memory_ratio)
        self._head_rate = bandwidth * c.gemm_memory_ratio
        self._expert_rate = bandwidth * c.moe_memory_ratio
        self._kv_rate = bandwidth * c.kv_memory_ratio
        self._is_quantized = hardware.projection_dtype in {"fp8", "int8"}
        self._flops = device.peak_flops(hardware.projection_dtype) * (gemm_flops_ratio or c.gemm_flops_ratio)
        expert_ratio = c.moe_flops_ratio or c.gemm_flops_ratio
        self._expert_flops = device.peak_flops(hardware.expert_dtype) * expert_ratio
        self._head_flops = plain * c.gemm_flops_ratio
        self._attention_flops = plain * c.attention_flops_ratio
        self._state_flops = plain * (c.state_flops_ratio or c.attention_flops_ratio)
        self._activation_bytes = weight_bytes(model.activation_dtype)
        self._has_lone_tiles = bool(c.lone_tile_rows) and not model.is_latent_attention
        self._has_lone_windows = self._has_lone_tiles and model.window_tokens > 0 and not model.is_chunked_attention
        self._router_share = model.router_kernels / LAYER_KERNELS
        delta_layers = model.layer_types.count("linear_attention")
        self._delta_share = DELTA_KERNELS / LAYER_KERNELS * delta_layers / model.num_hidden_layers
        by_blocks = {"fp4": c.scaled_projection_fp4_us, "fp8": c.scaled_projection_fp8_us if model.is_moe else 0.0}
        self._scales_us = by_blocks.get(hardware.projection_dtype, 0.0)
        self._heads_per_key_head = model.num_attention_heads / model.num_key_value_heads

    @classmethod
    def build(cls, options: PhysicalOptions, hardware: ReplicaHardware) -> Self:
        """Read the calibration that a study's block names."""
        return cls.of(CalibratedSource.of(load_calibration(options.profile), hardware), hardware)

    @classmethod
    def of(cls, source: CalibratedSource, hardware: ReplicaHardware) -> Self:
        """Return the predictor of a calibration that was resolved for a replica."""
        return cls(
            source.coefficients,
            hardware,
            label=f"physical ({source.calibration.name})",
            is_measured=source.kinship.is_covered,
            error_band=source.error_band,
        )

    def tokens_cost(self, tokens: int, stage: int) -> float:
        """Return the constants, projections, experts and all-reduces of ``tokens`` tokens, ns."""
        return self.routed_cost(tokens, tokens * self._experts.ranks, stage)

    def routed_cost(self, tokens: int, routed_tokens: int, stage: int) -> float:
        """Return the same if the ranks together have ``routed_tokens`` tokens, ns."""
        part, c, model = self._shards[stage], self.coefficients, self._model
        weights_s, experts_s = part.dense_weight_bytes / self._dense_rate, 0.0
        expert_flops = 0.0
        if part.moe_layers:
            activated = self._experts.busiest_activated_ratio(model, self._padded(tokens, routed_tokens))
            experts_s = part.expert_weight_bytes * activated / self._expert_rate * self._experts.imbalance_ratio
            expert_flops = (
                2.0 * part.moe_layers * model.num_experts_per_tok * model.expert_parameters / self._tensor_parallel
            )
        dense_flops = part.flops_per_token - expert_flops
        arithmetic_s = tokens * dense_flops / self._flops
        share = routed_tokens / self._experts.ranks * self._experts.imbalance_ratio
        share *= self._experts.busiest_share(model, routed_tokens) if part.moe_layers else 1.0
        experts_arithmetic_s = share * expert_flops / self._expert_flops
        apart_s = 0.0
        if c.moe_flops_ratio:
            apart_s = experts_s + experts_arithmetic_s
        else:
            weights_s, arithmetic_s = weights_s + experts_s, arithmetic_s + experts_arithmetic_s
        us = c.step_us + c.gap_us + part.layers * c.layer_us + part.moe_layers * c.moe_layer_us + tokens * c.token_us
        us += part.moe_layers * self._router_share * c.layer_us
        us += part.layers * self._delta_share * c.layer_us
        if model.is_latent_attention:
            has_sparse = model.indexer is not None and c.sparse_layer_us
            us += part.layers * (c.sparse_layer_us if has_sparse else c.latent_layer_us)
        if self._is_quantized:
            us += part.layers * c.quantized_layer_us
        if self._scales_us:
            us += self._projections(part) * self._scales_us
        if model.use_qk_norm:
            us += part.layers * c.qk_norm_us
        if self._tensor_parallel > 1:
            us += 2 * part.layers * (c.all_reduce_us + self._all_reduce_extra_us + self._ring_us(tokens))
        if self._experts.ranks > 1:
            us += part.moe_layers * self._exchange_us(routed_tokens)
        return us * NS_PER_US + (_smooth_max(weights_s, arithmetic_s, c.smooth_power) + apart_s) * NS_PER_S

    def _projections(self, part: Shard) -> float:
        """Return the projections of a step outside the routed experts: two of attention, three if it is latent, and
        two of a dense feed-forward or of shared experts.
        """
        model = self._model
        attention = 3 if model.is_latent_attention else 2
        has_shared = model.n_shared_experts or model.shared_expert_intermediate_size
        wide = part.layers if has_shared else part.layers - part.moe_layers
        return attention * part.layers + 2 * wide

    def _padded(self, tokens: int, routed_tokens: int) -> int:
        """Return the tokens that choose experts: those that fill a CUDA graph up hold old tokens, which choose too."""
        engine = self.hardware.engine
        if engine.kernels != "vllm" or engine.enforce_eager:
            return routed_tokens
        return routed_tokens + (graph_tokens(tokens) - tokens) * self._experts.ranks

    def _exchange_us(self, routed_tokens: int) -> float:
        """Return the gathering and scattering of one layer's tokens between data-parallel ranks, us."""
        link = self.hardware.rank_link
        rate = link.bandwidth_bytes_per_s * self.coefficients.all_reduce_ratio
        kernels, c = self.hardware.engine.kernels, self.coefficients
        latency_us = 2 * c.all_reduce_us
        if self._experts.is_all_to_all(self._model, kernels) and c.all_to_all_us:
            latency_us = c.all_to_all_us
        return latency_us + self._experts.exchanged_bytes(self._model, routed_tokens, kernels) / rate * 1e6

    def sequences_cost(self, sequences: int, stage: int) -> float:
        """Return the states of constant size, and in the last stage the head and the sampler, ns."""
        part, c, model = self._shards[stage], self.coefficients, self._model
        states_ns = sequences * self._state_s(part) * NS_PER_S
        if not part.head_weight_bytes:
            return states_ns
        head_s = _smooth_max(
            part.head_weight_bytes / self._head_rate,
            sequences * part.head_flops_per_token / self._head_flops,
            c.smooth_power,
        )
        us = sequences * (c.sequence_us + c.gap_sequence_us)
        if model.default_sampling.is_sorting:
            us += c.sort_us
            moved = sequences * c.sort_bytes_per_entry * model.vocab_size
            head_s += moved / self.hardware.device.memory_bandwidth_bytes_per_s
        return head_s * NS_PER_S + us * NS_PER_US + states_ns

    def _state_s(self, part: Shard) -> float:
        """Return the time of a token on a sequence's states, s: they are read and written, or computed if slower."""
        moved = 2.0 * part.state_bytes / self._kv_rate
        return max(moved, part.state_flops_per_token / self._attention_flops)

    def cpu_cost(self, sequences: int, stage: int) -> float:
        """Return the launching of an eager step's kernels, ns; CUDA graphs are launched as one."""
        if not self.hardware.engine.enforce_eager:
            return 0.0
        part, c = self._shards[stage], self.coefficients
        us = c.gap_us + part.layers * c.launch_layer_us
        us += part.moe_layers * (c.launch_moe_layer_us + self._router_share * c.launch_layer_us)
        return (us + sequences * (c.launch_sequence_us + c.gap_sequence_us)) * NS_PER_US

    def kv_slopes(self, stage: int) -> tuple[float, float]:
        """Return ns per cached token: its bytes, or for latent attention its operations if they take longer; of layers
        with a sliding window the tiles that their kernel leaves to each query head.
        """
        full, windowed = self._packed_slopes(stage)
        if self._has_lone_windows:
            windowed = max(windowed, self._lone_slopes(stage)[1])
        return full, windowed

    def mixed_slopes(self, stage: int) -> tuple[float, float]:
        """Return the same if the batch has a prefill, which leaves every query head of a decode a tile of its own."""
        full, windowed = self._packed_slopes(stage)
        lone_full, lone_windowed = self._lone_slopes(stage)
        return max(full, lone_full), max(windowed, lone_windowed)

    def resident_tokens(self, stage: int) -> float:
        """Return how many tokens of one key head's cache the L2 holds."""
        if not self._has_lone_tiles:
            return math.inf
        part, model = self._shards[stage], self._model
        heads = max(1.0, model.num_key_value_heads / self._tensor_parallel) * max(1, model.attention_layers)
        return self.hardware.device.l2_bytes * heads / (part.kv_bytes_per_token * self.stages)

    def spilled_slopes(self, stage: int, *, is_mixed: bool) -> tuple[float, float]:
        """Return the same where the L2 does not hold that: every query head then reads the cache from memory."""
        full, windowed = self.mixed_slopes(stage) if is_mixed else self.kv_slopes(stage)
        if not self._has_lone_tiles:
            return full, windowed
        read_full, read_windowed = (slope * self._heads_per_key_head for slope in self._packed_slopes(stage))
        if is_mixed:
            full = max(full, read_full)
        if is_mixed or self._has_lone_windows:
            windowed = max(windowed, read_windowed)
        return full, windowed

    def _packed_slopes(self, stage: int) -> tuple[float, float]:
        """Return ns per cached token where the query heads of a key head share a tile."""
        part = self._shards[stage]
        by_bytes = part.kv_bytes_per_token / self._kv_rate * NS_PER_S
        by_flops = 0.0
        if self._model.is_latent_attention:
            by_flops = part.attention_flops_per_pair / self._attention_flops * NS_PER_S
        bytes_share, flops_share = part.windowed_kv_ratio, part.windowed_pairs_ratio
        full = max(by_bytes * (1.0 - bytes_share), by_flops * (1.0 - flops_share))
        return full, max(by_bytes * bytes_share, by_flops * flops_share)

    def _lone_slopes(self, stage: int) -> tuple[float, float]:
        """Return the arithmetic of a tile of rows for each query head, one of them used; 0 where tiles are shared."""
        if not self._has_lone_tiles:
            return 0.0, 0.0
        part, rows = self._shards[stage], self.coefficients.lone_tile_rows
        tile = rows * part.attention_flops_per_pair / self._attention_flops * NS_PER_S
        share = part.windowed_pairs_ratio
        return tile * (1.0 - share), tile * share

    def chunk_cost(self, chunk_tokens: int, kv_tokens: int, stage: int) -> float:
        """Return the attention of a prefill chunk, ns: it reads the cache once and computes the causal part."""
        part = self._shards[stage]
        window = self._attention_windows[stage]
        seconds = window.cache_tokens(kv_tokens) * part.kv_bytes_per_token / self._kv_rate
        pairs = window.pairs(chunk_tokens, kv_tokens)
        seconds += pairs * part.attention_flops_per_pair / self._attention_flops
        if part.state_bytes:
            seconds += (chunk_tokens - 1) * part.state_flops_per_token / self._state_flops
        return seconds * NS_PER_S

    def mix_cost(self, stage: int) -> float:
        """Return what any prefill in the batch adds, ns."""
        us = self.coefficients.mix_layer_us + self._is_quantized * self.coefficients.quantize_layer_us
        return self._shards[stage].layers * us * NS_PER_US

    def encoder_cost(self, encoder_tokens: int, stage: int) -> float:
        """Return the encoder's arithmetic, ns; the first stage has it."""
        if stage:
            return 0.0
        return encoder_tokens * 2.0 * self._model.extra_parameters / self._tensor_parallel / self._head_flops * NS_PER_S

    def stage_link_ns(self, tokens: int, stage: int) -> int:
        """Return the time to hand the activations of ``tokens`` tokens to the next stage, ns."""
        link = self._stage_links[stage]
        moved = tokens * self._model.hidden_size * self._activation_bytes / self._tensor_parallel
        rate = link.bandwidth_bytes_per_s * self.coefficients.all_reduce_ratio
        return round(link.latency_us * NS_PER_US + moved / rate * NS_PER_S)

    def _ring_us(self, tokens: int) -> float:
        """Return the time that the bytes of one ring all-reduce take on the link, us."""
        tp = self._tensor_parallel
        link = self._tensor_link
        moved = 2.0 * (tp - 1) / tp * tokens * self._model.hidden_size * self._activation_bytes
        return moved / (link.bandwidth_bytes_per_s * self.coefficients.all_reduce_ratio) * 1e6


def _smooth_max(a: float, b: float, power: float) -> float:
    """Return the p-norm of two non-negative numbers, scaled by the larger one so that it cannot overflow."""
    high = max(a, b)
    if high == 0.0:
        return 0.0
    total: float = (a / high) ** power + (b / high) ** power
    return high * math.pow(total, 1.0 / power)
