"""Figures of latency and throughput: one set of formulas for measured and simulated runs.

TPOT is (E2E - TTFT) / (n - 1) with n the tokens the engine really generated.  Means are over requests.  Throughput is
requests completed per second from the first sending to the last completion.  ``full_steps_per_s`` is the steps a second
that requests saw which had queued long, so decoded beside full slots: throughput without what time-outs do to it.
"""

from typing import Final

import numpy as np

from cluster_sim.calibration.case import WHOLE_RUN, FloatArray, Int64Array, Key

MEAN_METRICS: Final = {"e2e": "e2e_mean", "tpot": "tpot_mean", "ttft": "ttft_mean"}
"""The figures that errors are summed up by, by short names."""


QUEUED_S: Final = 5.0
"""A request that waited so long for its first token decodes while every slot is taken, in a queue that grows."""
FEWEST_QUEUED: Final = 100
"""Fewest such requests that say how many steps a second the engine then makes."""


def figures(
    ttft_s: FloatArray,
    e2e_s: FloatArray,
    sent_s: FloatArray,
    output_tokens: Int64Array,
    stage: Int64Array,
    stages: tuple[int, ...] = (),
) -> dict[Key, float]:
    """Return means, medians and p90 and p99 of TTFT, TPOT and E2E, and rates, of the rows whose ``e2e_s`` is finite.

    ``stages`` are the load stages to report beside the whole run.  Tokens per second count ``output_tokens``.
    """
    found: dict[Key, float] = {}
    is_done = np.isfinite(e2e_s) & np.isfinite(ttft_s)
    for number in (WHOLE_RUN, *stages):
        is_wanted = np.ones(len(stage), bool) if number == WHOLE_RUN else stage == number
        chosen = is_done & is_wanted
        if not chosen.any():
            continue
        ttft, e2e, outputs = ttft_s[chosen], e2e_s[chosen], output_tokens[chosen]
        gaps = outputs > 1
        tpot = (e2e[gaps] - ttft[gaps]) / (outputs[gaps] - 1)
        for name, values in (("ttft", ttft), ("tpot", tpot), ("e2e", e2e)):
            if not len(values):
                continue
            found[number, f"{name}_mean"] = float(values.mean())
            for percent in (50, 90, 99):
                found[number, f"{name}_p{percent}"] = float(np.percentile(values, percent))
        span = float((sent_s[chosen] + e2e).max() - sent_s[is_wanted].min())
        if span > 0:
            found[number, "requests_per_s"] = float(chosen.sum()) / span
            found[number, "tokens_per_s"] = float(outputs.sum()) / span
        queued = chosen & (ttft_s > QUEUED_S) & (output_tokens > 1)
        if queued.sum() >= FEWEST_QUEUED:
            steps = float((output_tokens[queued] - 1).sum())
            found[number, "full_steps_per_s"] = steps / float((e2e_s[queued] - ttft_s[queued]).sum())
    return found


def percentage_error(simulated: float, measured: float) -> float:
    """Return the absolute error in percent of the measurement."""
    return 100.0 * abs(simulated - measured) / abs(measured)
