"""Parts of the endpoint picker: the five kinds, their registries and interfaces.

llm-d calls a part a plugin.  A file names it by its type and gives it parameters, which are its options here, in the
spelling of the file (``maxPrefixBlocksToMatch``).  A profile's filters run in the order of the file, every scorer gives
each endpoint that is left a number in [0, 1], and a picker chooses by the weighted sums.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol

from pydantic import ConfigDict
from pydantic.alias_generators import to_camel

from cluster_sim.engine.draws import stream_key
from cluster_sim.options import ConfigModel
from cluster_sim.registry import Registry
from cluster_sim.routing.endpoint_picker.decision import Decision, Selection
from cluster_sim.routing.endpoint_picker.endpoints import Endpoints, Positions, Scores


class PartOptions(ConfigModel):
    """Parameters of a part; a file has their names in camel case."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    type: str


@dataclass(frozen=True, slots=True)
class PartContext:
    """What a part is built with beside its options."""

    name: str
    """The part's own name in the file."""
    endpoints: Endpoints
    seed: int
    objectives: Mapping[str, tuple[int, int]]
    """TTFT and TPOT in ns that requests of a class ask for; 0 where they do not."""
    find: Callable[[str], "Part | None"]
    """Returns another part by its name or type; the first of several. To be asked after all are built."""
    prefixes: Callable[[str], "PrefixSource | None"]
    """Returns the part that knows matches, by its name or type or ("") the first of the file; None if there is none."""

    def stream(self, purpose: str) -> int:
        """Return the key of a stream of draws of this part."""
        return stream_key(self.seed, "router", f"{self.name} {purpose}")


class Part(ABC):  # noqa: B024 - what a part must do is said by its kind
    """What every part may observe."""

    sampled_fields: ClassVar[tuple[str, ...]] = ()
    """Figures of samples that it reads."""
    reads_adapters: ClassVar[bool] = False
    """Whether it reads the adapters of endpoints."""
    reads_kv_events: ClassVar[bool] = False
    """Whether it is told what endpoints really cache."""
    counts_requests: ClassVar[bool] = False
    """Whether it reads own counts, so that ends of requests must be observed."""
    counts_first_tokens: ClassVar[bool] = False
    """Whether it reads counts that fall with first tokens."""
    predicts_latencies: ClassVar[bool] = False
    """Whether it needs the durations of steps at endpoints."""
    finds_prefixes: ClassVar[bool] = False
    """Whether ``matched_blocks`` is asked before anything is chosen, so that counts of uncached tokens can be kept."""

    def __init__(self, context: PartContext) -> None:
        self.name = context.name

    def on_chosen(self, decision: Decision, selection: Selection) -> None:
        """Note the endpoints that a request goes to."""

    def on_join(self, position: int) -> None:
        """Note an endpoint that has joined at the next position."""

    def on_leave(self, position: int) -> None:
        """Note that an endpoint has left for ever."""

    def on_kv_events(self, position: int, changes: Sequence[tuple[int, int]]) -> None:
        """Note what an endpoint's cache has gained or lost: (name of a prefix, index behind its last block or -1)."""


class PrefixSource(Protocol):
    """A part that knows how much of a prompt endpoints have cached."""

    name: str

    def matched_blocks(self, decision: Decision) -> Positions:
        """Return how many consecutive blocks of the prompt each endpoint has; one number a position."""

    def prompt_blocks(self, decision: Decision) -> int:
        """Return how many blocks the prompt has."""

    def uncached_tokens(self, decision: Decision) -> Positions:
        """Return how many tokens of the prompt each endpoint would have to compute; one number a position."""

    def uncached_at(self, decision: Decision, position: int) -> int:
        """Return how many tokens of the prompt one endpoint would have to compute."""


class Filter(Part):
    """Removes endpoints."""

    @abstractmethod
    def keep(self, decision: Decision, positions: Positions) -> Positions:
        """Return the endpoints that stay."""


class Scorer(Part):
    """Gives endpoints numbers."""

    @abstractmethod
    def scores(self, decision: Decision, positions: Positions) -> Scores:
        """Return one number in [0, 1] an endpoint."""


class Picker(Part):
    """Chooses by scores."""

    def __init__(self, context: PartContext) -> None:
        super().__init__(context)
        self._context = context
        self._streams: dict[str, int] = {}

    def stream(self, profile: str) -> int:
        """Return the key of the draws for one profile."""
        key = self._streams.get(profile)
        if key is None:
            key = self._streams[profile] = self._context.stream(profile)
        return key

    @abstractmethod
    def pick(self, decision: Decision, positions: Positions, scores: Scores, profile: str) -> int:
        """Return the chosen endpoint, of at least one."""


class Decider(Part):
    """Decides whether a prompt is computed apart from the endpoint that decodes."""

    @abstractmethod
    def is_split(self, decision: Decision, decode: int) -> bool:
        """Return whether the prompt of a request that ``decode`` was chosen for is computed elsewhere."""


RunProfile = Callable[[str, Decision, Positions | None], int]
"""Runs a profile by its name on some endpoints, or all; returns the chosen one, -1 if its filters leave none."""


class ProfileHandler(Part):
    """Runs profiles."""

    @abstractmethod
    def profiles(self, known: Sequence[str]) -> Sequence[str]:
        """Return the names of the profiles that it runs, of those in the file; raise InputError if one is missing."""

    @abstractmethod
    def select(
        self, decision: Decision, run: RunProfile, decoding: Positions | None, prefilling: Positions | None
    ) -> Selection | None:
        """Return the endpoints for a request, of those that may decode and those that may compute prompts.

        None is all.  Returns None if filters have left nobody to decode.
        """


FILTERS: Final = Registry[type[Filter]](
    "endpoint filter", "cluster_sim.routing.endpoint_picker.filters", "cluster_sim.picker_filters", tag="type"
)
SCORERS: Final = Registry[type[Scorer]](
    "endpoint scorer", "cluster_sim.routing.endpoint_picker.scorers", "cluster_sim.picker_scorers", tag="type"
)
PICKERS: Final = Registry[type[Picker]](
    "endpoint picker", "cluster_sim.routing.endpoint_picker.pickers", "cluster_sim.picker_pickers", tag="type"
)
ENDPOINT_DECIDERS: Final = Registry[type[Decider]](
    "endpoint decider", "cluster_sim.routing.endpoint_picker.deciders", "cluster_sim.picker_deciders", tag="type"
)
PROFILE_HANDLERS: Final = Registry[type[ProfileHandler]](
    "endpoint profile handler",
    "cluster_sim.routing.endpoint_picker.profile_handlers",
    "cluster_sim.picker_profile_handlers",
    tag="type",
)
