"""Roles of pools: the parts of a request that the replicas of a pool compute.

The names are those of llm-d's label ``llm-d.ai/role`` (llm-d-inference-scheduler, ``pkg/plugins/filter``); ``both`` is
the older name of ``prefill-decode``.
"""

from typing import Final, Literal

Role = Literal["both", "prefill", "decode", "encode", "prefill-decode", "encode-prefill", "encode-prefill-decode"]

_PREFILL: Final = frozenset({"", "both", "prefill", "prefill-decode", "encode-prefill", "encode-prefill-decode"})
_DECODE: Final = frozenset({"", "both", "decode", "prefill-decode", "encode-prefill-decode"})


def can_prefill(role: str) -> bool:
    """Return whether a pool of this role takes prompts whose decode another pool may do; "" is a pool without one."""
    return role in _PREFILL


def can_decode(role: str) -> bool:
    """Return whether a pool of this role can serve a request to its end."""
    return role in _DECODE
