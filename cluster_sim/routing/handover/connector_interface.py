"""Connectors: the axis, its registry, and the interface of every connector.

A connector moves the KV cache of a prompt from the replica that computes it to the one that decodes.  It is a state
machine over a ``Pair``: told what has happened, it answers with the actions that follow.  So it decides which leg comes
first, what moves when, and which replica makes the first token; the router carries the actions out.
"""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from cluster_sim.registry import Registry
from cluster_sim.routing.handover.kv_layout import KvLayout
from cluster_sim.routing.handover.options import HandoverOptions

CONNECTORS: Final = Registry[type["Connector"]](
    "connector",
    "cluster_sim.routing.handover.connectors",
    "cluster_sim.connectors",
    tag="connector",
)
"""Connectors, each made from its options."""

if TYPE_CHECKING:
    HandoverBlock = HandoverOptions
else:
    HandoverBlock = CONNECTORS.annotation()


class Prefill(NamedTuple):
    """Have the prefill replica compute the prompt and keep its blocks."""


class Reserve(NamedTuple):
    """Have the decode replica take blocks for the whole prompt."""


class Move(NamedTuple):
    """Move the cache of some tokens of the prompt; whole blocks that hold any of them."""

    first_token: int
    end_token: int
    overlapped_ns: int = 0
    """How long the tokens' step has been running while all layers but the last were sent; 0 sends at its end."""


class Ready(NamedTuple):
    """Tell the decode replica that everything has arrived."""

    computed_tokens: int
    """How many tokens of the prompt count as computed."""
    generated_tokens: int
    """Output tokens that have come along."""


class Release(NamedTuple):
    """Tell the prefill replica that its blocks are no longer needed."""


Action = Prefill | Reserve | Move | Ready | Release


class Pair:
    """The hand-over of one request, as a connector sees it."""

    __slots__ = ("block_size", "is_granted", "is_prefilled", "open_moves", "prompt_tokens", "sent_tokens")

    def __init__(self, prompt_tokens: int, block_size: int) -> None:
        self.prompt_tokens = prompt_tokens
        self.block_size = block_size
        self.is_granted = False
        """Whether the decode replica has taken blocks."""
        self.is_prefilled = False
        """Whether the whole prompt is computed."""
        self.sent_tokens = 0
        """Leading tokens whose cache is at the decode replica, or on its way."""
        self.open_moves = 0
        """Transfers under way."""

    def move(self, end_token: int, overlapped_ns: int = 0) -> list[Action]:
        """Return the move of what has not been sent up to ``end_token``, which counts as sent from now on."""
        first_token, self.sent_tokens = self.sent_tokens, max(self.sent_tokens, end_token)
        if self.sent_tokens == first_token:
            return []
        self.open_moves += 1
        return [Move(first_token, end_token, overlapped_ns)]


class Connector(ABC):
    """One way to hand a request over; it keeps nothing of its own about a pair."""

    engine: ClassVar[str]
    """The engine of both replicas."""
    is_default: ClassVar[bool] = True
    """Whether it is the connector of that engine where a study names none."""
    reports_chunks: ClassVar[bool] = False
    """Whether it acts at the end of every chunk of a prompt."""
    has_first_token: ClassVar[bool]
    """Whether the prefill replica's token is the first one of the answer, so that the decode replica makes the second.
    """

    def __init__(self, options: HandoverOptions) -> None:
        self.options = options

    @abstractmethod
    def begin(self, pair: Pair) -> list[Action]:
        """Begin a hand-over."""

    @abstractmethod
    def on_granted(self, pair: Pair, cached_tokens: int) -> list[Action]:
        """The decode replica has taken blocks; ``cached_tokens`` of the prompt it has already."""

    def on_chunk(self, pair: Pair, computed_tokens: int, step_ns: int) -> list[Action]:
        """A step of ``step_ns`` has ended that brought the computed tokens of the prompt to ``computed_tokens``."""
        return []

    @abstractmethod
    def on_prefilled(self, pair: Pair, step_ns: int) -> list[Action]:
        """The prompt is computed, by a last step of ``step_ns``."""

    def on_moved(self, pair: Pair) -> list[Action]:
        """One transfer has ended."""
        pair.open_moves -= 1
        if pair.open_moves or not pair.is_prefilled or pair.sent_tokens < pair.prompt_tokens:
            return []
        return [self.ready(pair), Release()]

    def ready(self, pair: Pair) -> Ready:
        """Return what the decode replica starts with."""
        if self.has_first_token:
            return Ready(pair.prompt_tokens, 1)
        return Ready(pair.prompt_tokens - 1, 0)

    @classmethod
    @abstractmethod
    def refusal(cls, prefill: KvLayout, decode: KvLayout) -> str:
        """Return why it cannot convert one pool's cache into the other's, beginning with the key of the decode pool at
        fault; "" if it can.
        """


class PullConnector(Connector):
    """The prompt is computed first; then the decode replica takes blocks and reads."""

    def begin(self, pair: Pair) -> list[Action]:
        """Compute the prompt."""
        return [Prefill()]

    def on_prefilled(self, pair: Pair, step_ns: int) -> list[Action]:
        """Ask the decode replica for blocks."""
        pair.is_prefilled = True
        return [Reserve()]

    def on_granted(self, pair: Pair, cached_tokens: int) -> list[Action]:
        """Move what the decode replica has not."""
        pair.is_granted = True
        pair.sent_tokens = cached_tokens
        return pair.move(pair.prompt_tokens)


class PushConnector(Connector):
    """The decode replica takes blocks first; then the prompt is computed and sent chunk by chunk."""

    reports_chunks: ClassVar = True
    overlaps_layers: ClassVar[bool] = False
    """Whether a layer is sent while the next ones are computed."""

    def begin(self, pair: Pair) -> list[Action]:
        """Ask the decode replica for blocks."""
        return [Reserve()]

    def on_granted(self, pair: Pair, cached_tokens: int) -> list[Action]:
        """Compute the prompt; what the decode replica has is not sent."""
        pair.is_granted = True
        pair.sent_tokens = cached_tokens
        return [Prefill()]

    def on_chunk(self, pair: Pair, computed_tokens: int, step_ns: int) -> list[Action]:
        """Send the whole blocks of the chunk."""
        whole = computed_tokens - computed_tokens % pair.block_size
        return pair.move(whole, step_ns if self.overlaps_layers else 0)

    def on_prefilled(self, pair: Pair, step_ns: int) -> list[Action]:
        """Send the rest."""
        pair.is_prefilled = True
        return pair.move(pair.prompt_tokens, step_ns if self.overlaps_layers else 0)


def default_handover(engine: str) -> HandoverOptions | None:
    """Return the options of a study that names no connector, by the engine of its pools; None if it has none."""
    for entry in CONNECTORS.entries():
        if entry.part.engine == engine and entry.part.is_default:
            options = entry.options()
            assert isinstance(options, HandoverOptions)
            return options
    return None


def build_connector(options: HandoverOptions) -> Connector:
    """Build the connector that a study names."""
    return CONNECTORS.chosen_by(options).part(options)
