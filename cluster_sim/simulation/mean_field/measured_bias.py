"""Bias of the mean-field estimate against full runs, measured by ``scripts/estimate_bias.py``."""

from typing import Final

NEAR_LOAD_RATIO: Final = 1.0
"""Share of what a pool serves at most, from which there is no steady state."""
TPOT_BIAS_PERCENT: Final = {"up_to_80_percent": 1.1, "near_saturation": 1.6}
"""Mean size of the difference of the mean TPOT, by the load over what the pool serves at most; near is up to 95 %."""
