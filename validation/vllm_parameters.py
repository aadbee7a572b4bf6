"""Parameters of vLLM's v1 engine: priors of the coefficients that the measured runs determine."""

from typing import Final

from cluster_sim.calibration.fit import Parameter, PreparedRun, concerns
from cluster_sim.hardware.predictors.calibration_file import Calibration, Provenance

ENGINE: Final = "vllm"
REFERENCE_DEVICE: Final = "h100-sxm"

COMMON: Final = (
    Parameter("step_us", 300.0, 0.5),
    Parameter("layer_us", 40.0, 0.4),
    Parameter("gemm_memory_ratio", 0.9, 0.1),
    Parameter("moe_memory_ratio", 0.9, 0.12),
    Parameter("kv_memory_ratio", 0.9, 0.15),
    Parameter("gemm_flops_ratio", 0.65, 0.25),
    Parameter("attention_flops_ratio", 0.5, 0.4),
    Parameter("smooth_power", 3.0, 0.3),
    Parameter("moe_layer_us", 50.0, 0.6),
    Parameter("qk_norm_us", 5.0, 0.5),
    Parameter("mix_layer_us", 5.0, 0.8),
    Parameter("sequence_us", 5.0, 0.8),
    Parameter("sort_us", 200.0, 0.7),
    Parameter("sort_bytes_per_entry", 500.0, 0.6),
    Parameter("all_reduce_us", 7.2, 0.5),
    Parameter("all_reduce_ratio", 0.5, 0.4),
    Parameter("frontend_us", 6000.0, 0.4),
    Parameter("frontend_us_per_token", 2.0, 0.7),
)
"""Coefficients of every device and version, with data-sheet and order-of-magnitude priors."""
FIXED: Final = {"token_us": 0.08}
"""Coefficients that the data cannot tell apart from others."""
BY_VERSION: Final = (
    Parameter("frontend_us", 4000.0, 0.4, "version:0.23"),
    Parameter("sort_us", 60.0, 1.5, "version:0.23"),
)
"""Coefficients that changed between versions: the API server, and the sampler's kernels."""
BY_DEVICE: Final = (
    ("kv_memory_ratio", 0.6),
    ("gemm_memory_ratio", 0.1),
    ("sort_bytes_per_entry", 1.0),
)
"""(coefficient, width) refitted for the other GPUs that have end-to-end runs, around what the operators carry over."""
FLASH_ATTENTION_2: Final[dict[str, float]] = {"lone_tile_rows": 64}
"""The tile of FlashAttention 2 with 128-wide heads, which vLLM uses except on Hopper and Blackwell data-centre GPUs."""


def default_parameters(runs: list[PreparedRun]) -> list[Parameter]:
    """Return the parameters that the runs can say something of."""
    parameters = [*COMMON, *BY_VERSION]
    for device in sorted({run.hardware.device.name for run in runs} - {REFERENCE_DEVICE}):
        parameters += [Parameter(name, 1.0, width, f"device:{device}") for name, width in BY_DEVICE]
    return [parameter for parameter in parameters if any(concerns(parameter, run) for run in runs)]


def blank_calibration(name: str, data: str, command: str, operators: str) -> Calibration:
    """Return a calibration that holds the priors, to be filled by a fit."""
    return Calibration(
        name=name,
        engine=ENGINE,
        provenance=Provenance(data=data, command=command),
        coefficients={parameter.name: parameter.prior for parameter in COMMON} | FIXED,
        architectures={"ampere": FLASH_ATTENTION_2, "ada": FLASH_ATTENTION_2},
        devices={"rtx-pro-6000": FLASH_ATTENTION_2},
        versions={"0.15": {}},
        reference_device=REFERENCE_DEVICE,
        operators=operators,
    )
