"""Summaries of earlier releases, in today's form: a run's directory stays readable after an update."""

from typing import Any, Final

from cluster_sim.hardware.predictors.error_band import BandCase
from cluster_sim.metrics.verdicts import Verdict

WHOLE_RUN: Final = 1
"""The version whose figures cover the whole run, without bands and verdicts."""


def from_whole_run(summary: dict[str, Any], version: int) -> dict[str, Any]:
    """Return a summary of version ``WHOLE_RUN`` as one of ``version``: nothing is known that it does not say.

    Its verdicts are those of its ``is_met``, without bands; its window is the whole run.
    """
    slo, coverage = summary["slo"], summary["predictor_coverage"]
    known = {"lost": 0, "cut_off_passed": 0, "cut_off_left_out": 0, "low_s": None, "high_s": None}
    limits = [{**known, **limit, "verdict": _verdict(limit["is_met"])} for limit in slo["limits"]]
    unpriced: dict[str, Any] = {"predictor_choice": None, "model_keys_not_understood": [], "model_parts_left_out": []}
    return {
        **summary,
        "summary_version": version,
        "warnings": [],
        "reasons": {},
        "window": {"start_s": 0.0, "end_s": summary["simulated_s"], "warmup": "none", "measure": "none"},
        "whole_run": {"requests": summary["requests"]},
        "slo": {**slo, "limits": limits, "verdict": _verdict(slo["is_met"]), "left_out": 0, "classes": []},
        "pools": [{**unpriced, **pool} for pool in summary["pools"]],
        "predictor_coverage": {
            **coverage,
            "case": BandCase.NONE_KNOWN,
            "is_near_saturation": False,
            "error_band_percent": {},
        },
    }


def _verdict(is_met: bool | None) -> str | None:
    return None if is_met is None else Verdict.MET if is_met else Verdict.MISSED
