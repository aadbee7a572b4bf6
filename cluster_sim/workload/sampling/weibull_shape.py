"""The Weibull shape that has a given coefficient of variation."""

import math


def weibull_shape(cv: float) -> float:
    """Return the shape, by bisection; ``cv`` is kept within 0.03 to 100."""
    wanted = min(max(cv, 0.03), 100.0) ** 2 + 1.0
    low, high = 0.1, 50.0
    for _ in range(60):
        middle = math.sqrt(low * high)
        second_moment = math.gamma(1.0 + 2.0 / middle) / math.gamma(1.0 + 1.0 / middle) ** 2
        low, high = (middle, high) if second_moment > wanted else (low, middle)
    return low
