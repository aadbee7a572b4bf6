"""Deciders: the axis of rules by which a request is handed over or runs on its decode replica alone."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from cluster_sim.options import ConfigModel
from cluster_sim.registry import Registry


class DeciderOptions(ConfigModel):
    """Options of a decider; ``kind`` tells them apart."""

    kind: str


DECIDERS: Final = Registry[type["Decider"]](
    "decider",
    "cluster_sim.routing.handover.deciders",
    "cluster_sim.handover_deciders",
    default="always",
)
"""Deciders, each made from its options."""

if TYPE_CHECKING:
    DeciderBlock = DeciderOptions
else:
    DeciderBlock = DECIDERS.annotation()


class Situation(NamedTuple):
    """What a decider knows."""

    prompt_tokens: int
    cached_tokens: int
    """Tokens of the prompt that the router believes to be cached on the chosen decode replica; -1 if it does not know.
    """
    queued_prefills: int
    """Prompts that wait for a prefill replica, as the router counts them: beyond one for each of them."""

    @property
    def uncached_tokens(self) -> int:
        """Tokens of the prompt that the decode replica would have to compute."""
        return self.prompt_tokens - max(self.cached_tokens, 0)


class Decider(ABC):
    """Says of each request whether it is handed over."""

    reads_cache: ClassVar[bool] = False
    """Whether it reads ``cached_tokens``, so that the router keeps an index of what it sent where."""
    reads_queue: ClassVar[bool] = False
    """Whether it reads ``queued_prefills``."""

    def __init__(self, options: DeciderOptions) -> None:
        self.options = options

    @abstractmethod
    def hands_over(self, situation: Situation) -> bool:
        """Return whether the request's prompt is computed elsewhere."""


def build_decider(options: DeciderOptions) -> Decider:
    """Build the decider that a study names."""
    return DECIDERS.chosen_by(options).part(options)


def default_decider() -> DeciderOptions:
    """Return the options of a study that names no decider."""
    options = DECIDERS.get(str(DECIDERS.default)).options()
    assert isinstance(options, DeciderOptions)
    return options
