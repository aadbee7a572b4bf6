"""The standard normal distribution's quantile, vectorised.

Algorithm AS 241 (M. J. Wichura, Applied Statistics 37, 1988, routine PPND16): three rational approximations, relative
error about 1e-16.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from cluster_sim.workload.sampling.random_streams import Floats

_CENTRE_NUMERATOR: Final = (
    3.3871328727963666080e0,
    1.3314166789178437745e2,
    1.9715909503065514427e3,
    1.3731693765509461125e4,
    4.5921953931549871457e4,
    6.7265770927008700853e4,
    3.3430575583588128105e4,
    2.5090809287301226727e3,
)
_CENTRE_DENOMINATOR: Final = (
    1.0,
    4.2313330701600911252e1,
    6.8718700749205790830e2,
    5.3941960214247511077e3,
    2.1213794301586595867e4,
    3.9307895800092710610e4,
    2.8729085735721942674e4,
    5.2264952788528545610e3,
)
_MIDDLE_NUMERATOR: Final = (
    1.42343711074968357734e0,
    4.63033784615654529590e0,
    5.76949722146069140550e0,
    3.64784832476320460504e0,
    1.27045825245236838258e0,
    2.41780725177450611770e-1,
    2.27238449892691845833e-2,
    7.74545014278341407640e-4,
)
_MIDDLE_DENOMINATOR: Final = (
    1.0,
    2.05319162663775882187e0,
    1.67638483018380384940e0,
    6.89767334985100004550e-1,
    1.48103976427480074590e-1,
    1.51986665636164571966e-2,
    5.47593808499534494600e-4,
    1.05075007164441684324e-9,
)
_TAIL_NUMERATOR: Final = (
    6.65790464350110377720e0,
    5.46378491116411436990e0,
    1.78482653991729133580e0,
    2.96560571828504891230e-1,
    2.65321895265761230930e-2,
    1.24266094738807843860e-3,
    2.71155556874348757815e-5,
    2.01033439929228813265e-7,
)
_TAIL_DENOMINATOR: Final = (
    1.0,
    5.99832206555887937690e-1,
    1.36929880922735805310e-1,
    1.48753612908506148525e-2,
    7.86869131145613259100e-4,
    1.84631831751005468180e-5,
    1.42151175831644588870e-7,
    2.04426310338993978564e-15,
)


def _ratio(numerator: Sequence[float], denominator: Sequence[float], x: Floats) -> Floats:
    top = np.full_like(x, numerator[-1])
    bottom = np.full_like(x, denominator[-1])
    for high, low in zip(reversed(numerator[:-1]), reversed(denominator[:-1]), strict=True):
        top = top * x + high
        bottom = bottom * x + low
    result: Floats = top / bottom
    return result


def normal_quantile(probability: Floats) -> Floats:
    """Return x with P(Z <= x) = ``probability`` for a standard normal Z; infinite at 0 and 1."""
    centred = probability - 0.5
    result: Floats = centred * _ratio(_CENTRE_NUMERATOR, _CENTRE_DENOMINATOR, 0.180625 - centred * centred)
    outside = np.flatnonzero(np.abs(centred) > 0.425)
    if len(outside):
        with np.errstate(divide="ignore", invalid="ignore"):
            smaller = np.minimum(probability[outside], 1.0 - probability[outside])
            root = np.sqrt(-np.log(smaller))
            far = np.where(
                root <= 5.0,
                _ratio(_MIDDLE_NUMERATOR, _MIDDLE_DENOMINATOR, root - 1.6),
                _ratio(_TAIL_NUMERATOR, _TAIL_DENOMINATOR, np.minimum(root, 100.0) - 5.0),
            )
        far[smaller <= 0.0] = np.inf
        result[outside] = np.copysign(far, centred[outside])
    return result


def normal_cdf(value: float) -> float:
    """Return P(Z <= value) for a standard normal Z."""
    return 0.5 * math.erfc(-value / math.sqrt(2.0))
