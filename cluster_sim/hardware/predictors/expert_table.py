"""Measured experts of one layer, by the tokens of all data-parallel ranks.

Design: experts were measured by (tokens, activated experts).  A GPU that holds 1/r of the experts gets, of the tokens
of r ranks, as many choices as an r-th of those tokens makes, and they activate as many of its experts as all tokens are
expected to.
"""

from collections.abc import Iterable

from cluster_sim.errors import InputError
from cluster_sim.hardware.predictors.grid import Curve, grid_of, interpolate
from cluster_sim.hardware.predictors.operator_profile import OperatorProfile
from cluster_sim.hardware.replica_hardware import ReplicaHardware


def experts_curve(profile: OperatorProfile, hardware: ReplicaHardware, tokens: Iterable[float]) -> Curve:
    """Return the time of one layer's experts on one GPU over the tokens of all ranks, us.

    ``tokens`` are further knots for each rank's tokens.  Raises InputError if the profile has no ``moe`` rows.
    """
    model, sharding = hardware.model, hardware.experts
    rows = profile.of("moe")
    if not rows:
        raise InputError(f"{profile.path}: has no moe rows, which {model.name} needs")
    measured, activated, table = grid_of([(row.tokens, row.experts, row.time_us) for row in rows], "moe operators")
    held = model.experts / sharding.ranks

    def time_us(own: float) -> float:
        expected = held * sharding.activated_ratio(model, round(own * sharding.ranks))
        us = interpolate(measured, activated, table, own, expected)
        return us * own / measured[-1] if own > measured[-1] else us

    knots = sorted({*tokens, *measured})
    return Curve([knot * sharding.ranks for knot in knots], [time_us(knot) for knot in knots])
