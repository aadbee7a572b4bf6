"""KV cache groups: layers with and without an attention window, or with a state, in one pool of blocks.

Design: vLLM's.  Layers of one kind of attention form groups of equally many layers, so that a block, which holds one
group's layers for ``block_size`` tokens, has the same bytes in every group and all groups share one pool.  A group
with full attention keeps the blocks of the whole context; a windowed group gives those back that no later token can
see.  A group of layers that keep a state of constant size has one block of a sequence, however long it is.  Layers
without either are in no group.  If all layers are alike, or the groups are switched off, there is one group of them.
"""

from dataclasses import dataclass
from typing import Final, Protocol

from cluster_sim.errors import InputError
from cluster_sim.hardware.model import Model

_SIMILAR_RATIO: Final = 1.25
"""Kinds of layers whose numbers differ by less than this factor form one group each, the smaller one padded (1.5 in
vLLM's releases of late 2026)."""
NO_WINDOW: Final = 1 << 40
"""A window that no sequence fills, for models whose only groups beside the full ones are of states."""


class CacheSettings(Protocol):
    """Settings that the groups depend on beside the model; an engine block and EngineSettings have them."""

    @property
    def keeps_windows(self) -> bool:
        """Whether the engine gives back what lies outside a window; to one that does not, every layer is a full one."""

    @property
    def disable_hybrid_kv_cache_manager(self) -> bool | None:
        """Whether a model of both kinds of layers gets one group; None leaves it to the model."""


@dataclass(frozen=True, slots=True)
class KvGroups:
    """The groups of one replica, of which some are windowed."""

    full: int
    """Groups that keep the whole context."""
    windowed: int
    """Groups that keep the window."""
    window_tokens: int
    """Tokens that a token sees, itself included; or the length of a chunk."""
    is_chunked: bool = False
    """Whether a token sees its chunk up to itself instead of the last ``window_tokens``."""
    is_windowed_first: bool = True
    """Whether the windowed groups come first in vLLM's order, as their layers do in the model."""
    sequence_blocks: int = 0
    """Blocks that every sequence holds from its start to its end: its states."""
    full_ratio: int = 1
    """Tokens of a block in full groups over those in windowed ones: a block has the same bytes in both."""

    @property
    def count(self) -> int:
        """All groups but those of states: the blocks that hold ``block_size`` tokens inside the window."""
        return self.full + self.windowed

    def blocks_for(self, tokens: int, block_size: int) -> int:
        """Return the blocks that hold ``tokens`` tokens in all groups if no window has given any back."""
        size = block_size * self.full_ratio
        return self.windowed * -(-tokens // block_size) + self.full * -(-tokens // size)

    def skipped_tokens(self, computed: int) -> int:
        """Return how many leading tokens the next token, behind ``computed`` ones, and all later ones cannot see."""
        if self.is_chunked:
            return computed // self.window_tokens * self.window_tokens
        skipped = computed - self.window_tokens + 1
        return skipped if skipped > 0 else 0  # noqa: FURB136 - this runs for every scheduled chunk

    def window_blocks(self, budget_tokens: int, block_size: int) -> int:
        """Return the most blocks that one windowed group holds of a sequence in steps of up to ``budget_tokens``.

        They hold what the step's first token sees of the past and the step's own tokens; a window, unlike a chunk,
        may begin inside a block, which makes it one more.
        """
        if self.is_chunked:
            return -(-(self.window_tokens + budget_tokens) // block_size)
        return -(-(self.window_tokens - 1 + budget_tokens) // block_size) + 1

    def most_blocks(self, tokens: int, budget_tokens: int, block_size: int) -> int:
        """Return the most blocks that a sequence may hold at a time until ``tokens`` tokens are computed."""
        blocks = -(-tokens // block_size)
        windowed = min(blocks, self.window_blocks(budget_tokens, block_size))
        return self.full * -(-blocks // self.full_ratio) + self.windowed * windowed + self.sequence_blocks

    def longest(self, blocks: int, budget_tokens: int, block_size: int, limit_tokens: int) -> int:
        """Return how many computed tokens, at most ``limit_tokens``, surely fit in ``blocks`` blocks."""
        low, high = 0, limit_tokens
        while low < high:
            middle = (low + high + 1) // 2
            if self.most_blocks(middle, budget_tokens, block_size) <= blocks:
                low = middle
            else:
                high = middle - 1
        return low


def _is_sliding(model: Model, engine: CacheSettings) -> bool:
    """Return whether the engine keeps windows apart from the rest of the model, or the model has nothing else."""
    windowed = model.windowed_layers
    if not windowed or not engine.keeps_windows:
        return False
    if windowed == model.attention_layers:
        return True
    is_off = engine.disable_hybrid_kv_cache_manager
    return not (model.is_chunked_attention if is_off is None else is_off)


def layer_groups(model: Model, engine: CacheSettings) -> list[list[int]]:
    """Return the layers of every group, in vLLM's order of the groups.

    The group size is the number of layers of the rarer kind, so that an n:1 pattern makes n + 1 groups; a group takes
    every so-many-th layer of its kind, so that the stages of a pipeline have parts of all groups.
    """
    has_windows = _is_sliding(model, engine)
    kinds: dict[str, list[int]] = {}
    for index, layer in enumerate(model.layers):
        if model.has_state(index):
            kind = "state"
        elif layer.mixer is None:
            continue
        else:
            kind = "windowed" if has_windows and model.is_windowed(index) else "full"
        kinds.setdefault(kind, []).append(index)
    numbers = [len(members) for members in kinds.values()]
    size = max(numbers) if max(numbers) < _SIMILAR_RATIO * min(numbers) else min(numbers)
    groups: list[list[int]] = []
    for members in kinds.values():
        count = -(-len(members) // size)
        groups += [members[first::count] for first in range(count)]
    return groups


def full_block_ratio(model: Model, engine: CacheSettings, tensor_parallel: int) -> int:
    """Return how many times as many tokens a block holds in full groups as in windowed ones.

    Raises InputError if their heads differ otherwise than by a multiple.
    """
    if model.sliding is None or not _is_sliding(model, engine):
        return 1
    elements = {False: 0, True: 0}
    for index, layer in enumerate(model.layers):
        if layer.mixer is not None:
            elements[model.is_windowed(index)] = layer.mixer.kv_elements(tensor_parallel)
    if not elements[False]:
        return 1
    ratio, rest = divmod(elements[True], elements[False])
    if rest or not ratio:
        raise InputError(
            f"{model.name}: a token takes {elements[True]} numbers in a sliding layer and {elements[False]} in a full "
            f"one on a GPU of {tensor_parallel}; only multiples are modelled; set disable_hybrid_kv_cache_manager: true"
        )
    return ratio


def kv_groups(
    model: Model, engine: CacheSettings, block_size: int, tensor_parallel: int = 1, states_per_sequence: int = 1
) -> KvGroups | None:
    """Return the groups of a model with windows or states; None where every layer keeps the whole context.

    ``states_per_sequence`` is more than one if drafts are verified, each with a state of its own.  Raises InputError if
    the block size does not divide the chunks.
    """
    has_windows = _is_sliding(model, engine)
    if not has_windows and not model.state_layers:
        return None
    groups = layer_groups(model, engine)
    states = sum(model.has_state(layers[0]) for layers in groups)
    windowed = sum(model.is_windowed(layers[0]) for layers in groups) if has_windows else 0
    window = model.window_tokens if has_windows else NO_WINDOW
    is_chunked = has_windows and model.is_chunked_attention
    if is_chunked and window % block_size:
        raise InputError(
            f"engine.block_size: {model.name} attends in chunks of {window} tokens, which blocks of {block_size} "
            f"do not divide; choose a divisor of {window}, or set disable_hybrid_kv_cache_manager: true"
        )
    return KvGroups(
        len(groups) - windowed - states,
        windowed,
        window,
        is_chunked,
        not windowed or model.is_windowed(groups[0][0]),
        states * states_per_sequence,
        full_block_ratio(model, engine, tensor_parallel),
    )
