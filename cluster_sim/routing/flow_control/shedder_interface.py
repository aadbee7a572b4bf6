"""Shedders: the axis, its registry, and the interface of every shedder.

A shedder turns requests away on arrival, because of load.  Several may be given; the first that sheds decides.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from cluster_sim.options import ConfigModel
from cluster_sim.registry import Registry
from cluster_sim.workload.request import Request

SHEDDERS: Final = Registry[type["Shedder"]](
    "shedder",
    "cluster_sim.routing.flow_control.shedders",
    "cluster_sim.shedders",
)
"""Shedders, each made from its options and the study's seed."""

if TYPE_CHECKING:
    ShedderBlock = ConfigModel
else:
    ShedderBlock = SHEDDERS.annotation()


@dataclass(frozen=True, slots=True)
class Load:
    """The load that a request meets when it arrives."""

    saturation: float
    """As the detector measures it: 1 is saturated."""
    queued: int
    """Requests that wait and would go before it, or with it."""
    drain_interval_ns: int | None
    """Recent mean time between two requests that leave the queue; None if none has."""
    first_token_ns: int | None
    """Recent mean time from a dispatch to the first token; None if nothing is known."""


class Shedder(ABC):
    """Decides whether a request is turned away on arrival."""

    observes_first_tokens: ClassVar[bool] = False
    """Whether it reads ``Load.first_token_ns``, which needs the ends of requests."""

    def __init__(self, options: ConfigModel, seed: int) -> None:
        """``options`` are the part's own; ``seed`` is the study's."""

    @abstractmethod
    def reason(self, request: Request, load: Load, now_ns: int) -> str | None:
        """Return why the request is shed, one of ``recording.reasons``; None if it is not."""


def is_sheddable(request: Request) -> bool:
    """Whether a request may be turned away before others.

    llm-d calls requests of a priority below 0 sheddable, where a higher priority is more urgent; priorities here are
    vLLM's, where a lower one is, so a sheddable one is above 0.
    """
    return request.attributes.priority > 0


def build_shedder(options: ConfigModel, seed: int) -> Shedder:
    """Build the shedder that a study's block chooses."""
    return SHEDDERS.chosen_by(options).part(options, seed)
