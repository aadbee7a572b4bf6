"""Writer of the Prometheus text format 0.0.4.

prometheus-client's registry would cost an object per series and five microseconds per line; and its own handlers
rewrite ``vllm:x`` to ``vllm_x`` for scrapers that ask for OpenMetrics (client_python issue 1177), which empties every
vLLM dashboard.
"""

from collections.abc import Sequence
from typing import Final

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def label_text(labels: dict[str, str]) -> str:
    """Return labels as they stand between braces, values escaped."""
    return ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items())


def bound_texts(bounds: Sequence[float]) -> tuple[str, ...]:
    """Return a histogram's boundaries and +Inf as Go writes them, the form every exporter uses for ``le``."""
    return (*(_go_float(bound) for bound in bounds), "+Inf")


def _go_float(value: float) -> str:
    """Return a positive number as Go's shortest form does, with a decimal point kept as exporters in Python do."""
    if value < 1e6:
        return repr(float(value))
    mantissa, exponent = f"{value:e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e+{int(exponent):02d}"


class TextPage:
    """Collects families of samples; every family must be complete before the next begins."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def family(self, name: str, kind: str, text: str) -> None:
        """Begin the family ``name``, on the wire: a counter's name ends in ``_total``."""
        self._lines.append(f"# HELP {name} {text}")
        self._lines.append(f"# TYPE {name} {kind}")

    def sample(self, name: str, labels: str, value: float) -> None:
        """Add one sample; ``labels`` is what ``label_text`` returns."""
        self._lines.append(f"{name}{{{labels}}} {value}" if labels else f"{name} {value}")

    def histogram(self, name: str, labels: str, bounds: Sequence[str], counts: Sequence[int], total: float) -> None:
        """Add one histogram: ``counts`` per bucket, not cumulative, one for each of ``bounds`` (``bound_texts``)."""
        lines = self._lines
        cumulative = 0
        for bound, count in zip(bounds, counts, strict=True):
            cumulative += count
            lines.append(f'{name}_bucket{{{labels},le="{bound}"}} {cumulative}')
        lines.append(f"{name}_sum{{{labels}}} {total}")
        lines.append(f"{name}_count{{{labels}}} {cumulative}")

    def text(self) -> str:
        """Return the page."""
        return "\n".join([*self._lines, ""])
