"""Coefficients of the physical step model; ``kinds/physical.py`` has its form."""

from pydantic import Field

from cluster_sim.hardware.library_model import LibraryModel


class Coefficients(LibraryModel):
    """The coefficients of the step model.  Ratios are of the data sheet's rate; effective values may exceed 1."""

    step_us: float = Field(ge=0, le=1e6, description="c_step: per step and stage")
    layer_us: float = Field(ge=0, le=1e6, description="c_layer: per layer")
    gemm_memory_ratio: float = Field(gt=0, le=2, description="e_m: reading dense weights")
    moe_memory_ratio: float = Field(gt=0, le=2, description="e_moe: reading expert weights")
    kv_memory_ratio: float = Field(gt=0, le=2, description="e_k: reading the KV cache")
    gemm_flops_ratio: float = Field(gt=0, le=2, description="e_f: projections")
    gemm_memory_fp8_ratio: float = Field(default=0.0, ge=0, le=2, description="e_m of projections in fp8; 0: as others")
    gemm_flops_fp8_ratio: float = Field(default=0.0, ge=0, le=2, description="e_f of projections in fp8; 0: as others")
    gemm_memory_fp4_ratio: float = Field(default=0.0, ge=0, le=2, description="e_m of projections in fp4; 0: as others")
    gemm_flops_fp4_ratio: float = Field(default=0.0, ge=0, le=2, description="e_f of projections in fp4; 0: as others")
    moe_flops_ratio: float = Field(
        default=0.0,
        ge=0,
        le=2,
        description="e_x: routed experts, then read and computed one after the other; 0: with the projections",
    )
    attention_flops_ratio: float = Field(gt=0, le=2, description="e_a: prefill attention")
    state_flops_ratio: float = Field(
        default=0.0, ge=0, le=2, description="e_s: prompts in layers that keep a state; 0: as prefill attention"
    )
    smooth_power: float = Field(default=3.0, ge=1, le=64, description="p of the smooth maximum")
    moe_layer_us: float = Field(default=0.0, ge=0, le=1e6, description="c_moe: per layer with experts")
    qk_norm_us: float = Field(
        default=0.0, ge=0, le=1e6, description="c_qk: per layer that normalises queries and keys by head"
    )
    latent_layer_us: float = Field(
        default=0.0,
        ge=0,
        le=1e6,
        description="c_mla: per layer with latent attention, for its further projections and norms",
    )
    sparse_layer_us: float = Field(
        default=0.0,
        ge=0,
        le=1e6,
        description="c_mla of layers whose latent attention has an indexer; 0: as without one",
    )
    mix_layer_us: float = Field(
        default=0.0, ge=0, le=1e6, description="c_mix: per layer when a prefill is in the batch"
    )
    quantize_layer_us: float = Field(
        default=0.0,
        ge=0,
        le=1e6,
        description="c_quant: per layer when a prefill is in the batch and projections quantise their input",
    )
    quantized_layer_us: float = Field(
        default=0.0,
        ge=0,
        le=1e6,
        description="c_q: per layer in every step where projections quantise their input in kernels of their own",
    )
    scaled_projection_fp8_us: float = Field(
        default=0.0,
        ge=0,
        le=1e6,
        description="c_b: per projection in fp8 whose input gets its scales by blocks, in every step",
    )
    scaled_projection_fp4_us: float = Field(
        default=0.0, ge=0, le=1e6, description="c_b: the same of a projection in fp4"
    )
    lone_tile_rows: int = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="Rows of the tile that a decode's query head fills alone beside a prefill; 0: packed",
    )
    sequence_us: float = Field(default=0.0, ge=0, le=1e6, description="c_seq: per sequence")
    sort_us: float = Field(
        default=0.0,
        ge=0,
        le=1e6,
        description="c_sort: per step where top-p or top-k is on, the sampler's many small kernels",
    )
    sort_bytes_per_entry: float = Field(
        default=0.0,
        ge=0,
        le=1e6,
        description="c_voc: memory traffic per sequence and vocabulary entry where top-p or top-k is on",
    )
    token_us: float = Field(default=0.0, ge=0, le=1e6, description="c_tok: per token")
    all_reduce_us: float = Field(default=0.0, ge=0, le=1e6, description="a_ar: latency of one all-reduce")
    all_reduce_ratio: float = Field(default=0.5, gt=0, le=2, description="e_ar: of the link's bandwidth")
    all_to_all_us: float = Field(
        default=0.0,
        ge=0,
        le=1e6,
        description="a_a2a: latency of sending tokens to the GPUs of their experts and back; 0: of two all-reduces",
    )
    gap_us: float = Field(
        default=0.0, ge=0, le=1e6, description="g: per step for which the GPU waits while the CPU plans the next one"
    )
    gap_sequence_us: float = Field(default=0.0, ge=0, le=1e6, description="g_seq: the same, per sequence")
    launch_layer_us: float = Field(
        default=0.0, ge=0, le=1e6, description="l: CPU time to launch a layer's kernels one by one, without CUDA graphs"
    )
    launch_moe_layer_us: float = Field(
        default=0.0, ge=0, le=1e6, description="l_moe: what a layer's experts add to that"
    )
    launch_sequence_us: float = Field(
        default=0.0, ge=0, le=1e6, description="l_seq: CPU time of an eager step, per sequence"
    )
    frontend_us: float = Field(default=0.0, ge=0, le=1e6, description="API server, per request")
    frontend_us_per_token: float = Field(default=0.0, ge=0, le=1e6, description="API server, per prompt token")


def at_most(name: str, value: float) -> float:
    """Return a value of a coefficient, or the largest that it may have where that is less."""
    rules = Coefficients.model_fields[name].metadata
    limits: list[float] = [rule.le for rule in rules if hasattr(rule, "le")]
    return min([value, *limits])
