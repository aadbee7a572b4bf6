"""Traffic split: shares of the requests by pool, as a canary release weights two versions of one model.

A request draws its pool with the weights of those that have an eligible replica, keyed by its id; the routing policy
then chooses inside that pool.  Source: Kubernetes Gateway API, HTTPRoute backendRefs weights.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from cluster_sim.engine.draws import draw_u64, stream_key
from cluster_sim.errors import InputError
from cluster_sim.workload.request import Request

_SCALE: Final = 1 << 64


class PoolMember(Protocol):
    """A replica of a pool."""

    @property
    def pool(self) -> str:
        """The pool's name."""


class TrafficSplit:
    """Draws a pool for each request."""

    def __init__(self, weights: Mapping[str, float], seed: int) -> None:
        """``weights`` by pool; pools without one get nothing while another of the split is there."""
        self._weights = dict(weights)
        self._key = stream_key(seed, "router", "traffic split")

    def narrowed(self, request: Request, eligible: Sequence[int], targets: Sequence[PoolMember]) -> Sequence[int]:
        """Return the eligible positions of the drawn pool; ``targets`` tell the pool of every position.

        Where no eligible replica belongs to a pool with a weight, all are kept.
        """
        by_pool: dict[str, list[int]] = {}
        for position in eligible:
            by_pool.setdefault(targets[position].pool, []).append(position)
        shares = [(name, weight) for name, weight in self._weights.items() if weight > 0 and name in by_pool]
        if not shares:
            return eligible
        drawn = draw_u64(self._key, request.request_id) / _SCALE * sum(weight for _, weight in shares)
        for name, weight in shares:
            drawn -= weight
            if drawn < 0:
                return by_pool[name]
        return by_pool[shares[-1][0]]


def check_weights(key: str, weights: Mapping[str, float], models: Mapping[str, str]) -> None:
    """Raise InputError, which begins with the key, unless weights by pool are a split; ``models`` has every pool's."""
    for name in weights:
        if name not in models:
            raise InputError(f"{key}: there is no pool {name!r}; known: {', '.join(models)}")
    for model in dict.fromkeys(models[name] for name in weights):
        if not sum(weight for name, weight in weights.items() if models[name] == model) > 0:
            raise InputError(f"{key}: the weights of the pools of {model} sum to 0; give one of them a weight above 0")
