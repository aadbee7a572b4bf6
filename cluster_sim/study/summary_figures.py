"""Figures of a run's summary under dotted names."""

from collections.abc import Mapping
from typing import Any, Final

COPIES: Final = frozenset({"flat"})
"""The block with figures of others under the names of llm-infer's studies."""


def flat_figures(
    summary: Mapping[str, Any], prefix: str = "", *, leaves_out: frozenset[str] = COPIES
) -> dict[str, Any]:
    """Return the figures by dotted names such as ``ttft_s.p99``; lists (pools, replicas) and the blocks named in
    ``leaves_out`` are left out.
    """
    row: dict[str, Any] = {}
    for key, value in summary.items():
        if isinstance(value, Mapping):
            if key not in leaves_out:
                row.update(flat_figures(value, f"{prefix}{key}.", leaves_out=leaves_out))
        elif not isinstance(value, list):
            row[f"{prefix}{key}"] = value
    return row


def numbers_of(summary: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures that are numbers, those under llm-infer's names (``flat``) included."""
    figures = flat_figures(summary, leaves_out=frozenset({"whole_run", "checks"}))
    return {
        name: float(value)
        for name, value in figures.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
