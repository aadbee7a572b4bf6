"""The limit on what a predictor may extrapolate."""

from cluster_sim.errors import InputError


def check_coverage(inside: int, extrapolated: int, limit_ratio: float) -> None:
    """Raise InputError when more than ``limit_ratio`` of the step predictions lay outside measured regions."""
    steps = inside + extrapolated
    if steps and extrapolated > limit_ratio * steps:
        raise InputError(
            f"predictor.max_extrapolated is {limit_ratio:g}, but {extrapolated:,} of {steps:,} step predictions "
            f"({extrapolated / steps:.1%}) lay outside the measured region: measure more, or allow more"
        )
