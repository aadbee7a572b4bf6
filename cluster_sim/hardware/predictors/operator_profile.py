"""Operator profiles: measured kernel times of one (device, model, TP) in one layout.

Design: one row per measurement.  ``operator`` is ``layer.<name>`` (by tokens, once per layer and ``count``),
``step.<name>`` (by tokens, once a step), ``sequence.<name>`` (by sequences, once a step), ``attention`` (by prefill
chunk, its cache, decodes and their mean cache, per layer), ``moe`` (by tokens and activated experts, per MoE layer),
``all_reduce`` (by tokens, ``count`` a layer) or ``send_recv`` (by tokens, between stages).  Keys that do not apply
are 0. Times are microseconds.  Every import, measurement and fit produces this layout; one predictor reads it.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from cluster_sim.errors import InputError

KEYS: Final = (
    "tokens",
    "sequences",
    "prefill_tokens",
    "prefill_kv_tokens",
    "decodes",
    "decode_kv_tokens",
    "experts",
)
PREFIXES: Final = ("layer.", "step.", "sequence.")
PLAIN: Final = ("attention", "moe", "all_reduce", "send_recv")


@dataclass(frozen=True, slots=True)
class ProfileInfo:
    """Origin of an operator profile: the hardware and software that were measured."""

    device: str
    """Name in ``conf/devices``."""
    model: str
    """Name in ``conf/models``."""
    tensor_parallel: int
    dtype: str = "bf16"
    engine: str = ""
    source: str = ""
    """The data and the command it came from."""
    versions: dict[str, str] = field(default_factory=dict)
    """Driver, libraries, engine."""

    @property
    def engine_version(self) -> str:
        """Version of the engine whose kernels were measured; "" if it is not known."""
        names = ("engine", self.engine, f"{self.engine}_version")
        return next((self.versions[name] for name in names if name in self.versions), "")


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measured time; see the module's text."""

    operator: str
    time_us: float
    tokens: int = 0
    sequences: int = 0
    prefill_tokens: int = 0
    prefill_kv_tokens: int = 0
    decodes: int = 0
    decode_kv_tokens: int = 0
    experts: int = 0
    count: int = 1
    row: int = 0
    """Line of the source, for messages; not stored."""

    @property
    def key(self) -> tuple[int, ...]:
        """The measurement's place in its operator's table."""
        return (
            self.tokens,
            self.sequences,
            self.prefill_tokens,
            self.prefill_kv_tokens,
            self.decodes,
            self.decode_kv_tokens,
            self.experts,
        )


@dataclass(frozen=True, slots=True)
class OperatorProfile:
    """The measurements of one (device, model, TP)."""

    info: ProfileInfo
    rows: tuple[Measurement, ...]
    path: str = ""
    _by_operator: dict[str, list[Measurement]] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Sort the rows of each operator by key, once."""
        for row in self.rows:
            self._by_operator.setdefault(row.operator, []).append(row)
        for rows in self._by_operator.values():
            rows.sort(key=lambda row: row.key)

    @property
    def operators(self) -> list[str]:
        """Names of the operators, sorted."""
        return sorted(self._by_operator)

    def of(self, operator: str) -> list[Measurement]:
        """Return the rows of one operator, sorted by key."""
        return self._by_operator.get(operator, [])


def make_profile(info: ProfileInfo, rows: Iterable[Measurement], path: str = "") -> OperatorProfile:
    """Check names, signs and keys and return the profile.

    Raises InputError with the row for an unknown operator, a time that is not positive and finite, a negative key, or a
    key that appears twice.
    """
    kept = tuple(rows)
    seen: dict[tuple[str, tuple[int, ...]], int] = {}
    for row in kept:
        where = f"{path or 'profile'}, row {row.row}"
        if row.operator not in PLAIN and not row.operator.startswith(PREFIXES):
            raise InputError(
                f"{where}: unknown operator {row.operator!r}; known: {', '.join(PLAIN)}, or a name after "
                f"{', '.join(PREFIXES)}"
            )
        if not math.isfinite(row.time_us) or row.time_us < 0:
            raise InputError(
                f"{where}: time of {row.operator} is {row.time_us:g} us; it must be finite and not negative"
            )
        if min(row.key) < 0 or row.count < 1:
            raise InputError(f"{where}: keys of {row.operator} must be at least 0 and its count at least 1")
        place = (row.operator, row.key)
        if place in seen:
            raise InputError(f"{where}: duplicate key of {row.operator} {row.key}, first in row {seen[place]}")
        seen[place] = row.row
    if not kept:
        raise InputError(f"{path or 'profile'}: has no rows")
    return OperatorProfile(info, kept, path)
