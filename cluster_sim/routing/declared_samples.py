"""Samples as a routing policy sees them: only the figures that it declares to read.

A figure that nobody declares is not sampled at its own changes, so what a sample shows of it depends on how steps are
grouped.  Reading it is an error, not an answer.
"""

from collections import namedtuple
from functools import cache
from operator import itemgetter
from typing import Any, Final

from cluster_sim.errors import InputError
from cluster_sim.serving.messages import Sample

SAMPLED_FIELDS: Final = ("running", "waiting", "kv_used_ratio")
"""The figures of a ``Sample`` that a policy may declare."""


class DeclaredView:
    """Reduces samples to the figures that one policy declares; reading any other of them raises InputError."""

    __slots__ = ("_fields", "_pick", "_policy", "_type")

    def __init__(self, policy: str, fields: tuple[str, ...]) -> None:
        self._policy = policy
        self._fields = fields
        self._type = _declared_sample(policy, fields)
        indices = [Sample._fields.index(name) for name in fields]
        # A getter of one item would return no tuple, but a slice does.
        self._pick: Any = itemgetter(*indices) if len(indices) > 1 else itemgetter(slice(*_range_of(indices)))

    def __call__(self, sample: Sample) -> Sample:
        """Return what the policy may read of a sample."""
        declared: Sample = tuple.__new__(self._type, self._pick(sample))
        return declared

    def __reduce__(self) -> tuple[Any, ...]:
        return DeclaredView, (self._policy, self._fields)


def _range_of(indices: list[int]) -> tuple[int, int]:
    return (indices[0], indices[0] + 1) if indices else (0, 0)


@cache
def _declared_sample(policy: str, fields: tuple[str, ...]) -> Any:
    """Return the type of a policy's samples."""

    class DeclaredSample(namedtuple("DeclaredSample", fields)):  # type: ignore[misc]  # noqa: PYI024 - made of given names
        __slots__ = ()

        def __getattr__(self, name: str) -> Any:
            if name not in SAMPLED_FIELDS:
                raise AttributeError(name)
            raise InputError(
                f"router.policy: the routing policy {policy!r} reads {name}, which it does not declare; "
                f"add {name!r} to its sampled_fields"
            )

        def __reduce__(self) -> tuple[Any, ...]:
            return _restored, (policy, fields, tuple(self))

    return DeclaredSample


def _restored(policy: str, fields: tuple[str, ...], values: tuple[Any, ...]) -> Any:
    return tuple.__new__(_declared_sample(policy, fields), values)
