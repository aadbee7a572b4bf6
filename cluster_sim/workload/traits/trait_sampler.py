"""Sampler of the traits that requests carry besides lengths.

Two kinds of traits: an *identity* (prefix path, adapter) belongs to a request, or to a whole session; a *body*
(reasoning, media, hint) is drawn for every request.  Both are keyed by the index of their request or session.
"""

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from cluster_sim.units import NS_PER_S
from cluster_sim.workload.columns import Columns
from cluster_sim.workload.request import NO_ATTRIBUTES, Attributes
from cluster_sim.workload.sampling.distribution import build_quantile, build_token_quantile
from cluster_sim.workload.sampling.normal_quantile import normal_quantile
from cluster_sim.workload.sampling.quantile import Quantile, to_tokens
from cluster_sim.workload.sampling.random_streams import Ints, Stream
from cluster_sim.workload.traits.prefix_tree import PrefixTree, ZipfChoice
from cluster_sim.workload.traits.trait_options import Multimodal, Traits

PART_BITS: Final = 44
"""Segment and session ids of one part of a workload lie in their own range of 2 ** 44."""

VISIBLE: Final = 1 << 43
"""Added to the id of an output's segment when its reasoning was taken out before it went into a later prompt."""

_CACHED_IDENTITIES: Final = 100_000


@dataclass(frozen=True, slots=True)
class Identity:
    """Traits of a request or session as a whole."""

    base: Attributes
    segments: tuple[tuple[int, int], ...]
    prefix_tokens: int


@dataclass(frozen=True, slots=True)
class Bodies:
    """Traits of each of a range of requests; None if the workload has no such trait."""

    reasoning_tokens: Ints | None
    encoder_tokens: Ints | None
    length_hint_tokens: Ints | None

    def row(self, index: int, old: Attributes = NO_ATTRIBUTES) -> tuple[int, int, int]:
        """Return (reasoning, encoder, length hint) tokens of one request; those not drawn come from ``old``."""
        reasoning, encoder, hints = self.reasoning_tokens, self.encoder_tokens, self.length_hint_tokens
        return (
            old.reasoning_tokens if reasoning is None else int(reasoning[index]),
            old.encoder_tokens if encoder is None else int(encoder[index]),
            old.length_hint_tokens if hints is None else int(hints[index]),
        )


class _Media:
    def __init__(self, config: Multimodal, stream: Stream) -> None:
        self._probability = config.probability
        self._items, self._tokens = (build_token_quantile(of) for of in (config.items, config.tokens_per_item))
        self._has, self._how_many, self._how_long = (stream.child("media", part) for part in ("has", "items", "tokens"))

    def draw(self, first: int, count: int) -> Ints:
        items = to_tokens(self._items.values(self._how_many.uniforms(first, count)))
        tokens = to_tokens(self._tokens.values(self._how_long.uniforms(first, count)))
        result: Ints = np.where(self._has.uniforms(first, count) < self._probability, items * tokens, 0)
        return result


class TraitSampler:
    """Draws the traits of one part of a workload."""

    def __init__(self, config: Traits, part: int, stream: Stream) -> None:
        self._config = config
        self._stream = stream
        self._part = part
        self.segment_base = part << PART_BITS
        self._base = replace(
            NO_ATTRIBUTES,
            tenant=config.tenant,
            model=config.model,
            priority=config.priority,
            slo_class=config.slo_class,
            lora=config.lora,
        )
        self._tree = PrefixTree(config.prefix, str(part), stream) if config.prefix else None
        self._loras = [replace(self._base, lora=f"lora-{index}") for index in range(config.lora_pool or 0)]
        self._lora = ZipfChoice(len(self._loras), config.lora_zipf_alpha) if self._loras else None
        self._ratio: Quantile | None = build_quantile(config.reasoning.ratio) if config.reasoning else None
        self._media = _Media(config.multimodal, stream) if config.multimodal else None
        self._identities: dict[tuple[str, tuple[tuple[int, int], ...]], Identity] = {}
        self.prefix_on_top = config.prefix is not None and config.prefix.added
        self.media_in_prompt = config.multimodal is not None and config.multimodal.in_prompt
        self.reasoning_kept = config.reasoning is None or config.reasoning.kept_in_context

    @property
    def is_plain(self) -> bool:
        """Whether requests get no traits at all."""
        return self._base == NO_ATTRIBUTES and self._is_constant

    @property
    def _is_constant(self) -> bool:
        drawn = (self._tree, self._lora, self._ratio, self._media, self._config.length_hint_cv)
        return all(part is None for part in drawn) and self._config.deadline_s is None

    def deadline_ns(self, arrival_ns: int) -> int:
        """Return the deadline of a request that arrives then; -1 when there is none."""
        return -1 if self._config.deadline_s is None else arrival_ns + round(self._config.deadline_s * NS_PER_S)

    def identities(self, first: int, count: int) -> list[Identity]:
        """Return the identities of indices ``first`` to ``first + count - 1``."""
        bases = [self._base] * count
        if self._lora is not None:
            picks = self._lora.pick(self._stream.child("lora").uniforms(first, count))
            bases = [self._loras[pick] for pick in picks.tolist()]
        paths = [()] * count if self._tree is None else self._tree.paths(first, count)
        known = self._identities
        result = []
        for base, path in zip(bases, paths, strict=True):
            identity = known.get((base.lora, path))
            if identity is None:
                identity = Identity(base, path, sum(tokens for _, tokens in path))
                if len(known) < _CACHED_IDENTITIES:
                    known[base.lora, path] = identity
            result.append(identity)
        return result

    def bodies(self, first: int, output_tokens: Ints) -> Bodies:
        """Return the bodies of indices from ``first`` on, one for each output length."""
        count = len(output_tokens)
        reasoning = hints = None
        if self._ratio is not None:
            ratio = np.clip(self._ratio.values(self._stream.child("reasoning").uniforms(first, count)), 0.0, 1.0)
            reasoning = np.rint(ratio * output_tokens).astype(np.int64)
        encoder = self._media.draw(first, count) if self._media is not None else None
        cv = self._config.length_hint_cv
        if cv is not None:
            sigma = math.sqrt(math.log1p(cv * cv))
            score = normal_quantile(self._stream.child("hint").uniforms(first, count))
            hints = to_tokens(output_tokens.astype(np.float64) * np.exp(sigma * score - sigma * sigma / 2.0))
        return Bodies(reasoning, encoder, hints)

    def decorate(self, block: Columns, first: int) -> Columns:
        """Return a block of stand-alone requests with their traits; rows that have attributes keep them."""
        if self.is_plain:
            return block
        if self._is_constant and block.attributes is None:
            return Columns(block.arrival_ns, block.prompt_tokens, block.output_tokens, [self._base] * len(block))
        identities = self.identities(first, len(block))
        bodies = self.bodies(first, block.output_tokens)
        prompt = block.prompt_tokens
        if self.prefix_on_top:
            prompt = prompt + np.asarray([identity.prefix_tokens for identity in identities], dtype=np.int64)
        if self.media_in_prompt and bodies.encoder_tokens is not None:
            prompt = prompt + bodies.encoder_tokens
        if block.attributes is None:
            attributes = self._fresh(identities, bodies, first, block.arrival_ns.tolist(), prompt.tolist())
            return Columns(block.arrival_ns, prompt, block.output_tokens, attributes)
        rows = zip(block.attributes, identities, block.arrival_ns.tolist(), prompt.tolist(), strict=True)
        attributes = [
            self._merged(old, identity, bodies, index, (first + index, arrival, tokens))
            for index, (old, identity, arrival, tokens) in enumerate(rows)
        ]
        return Columns(block.arrival_ns, prompt, block.output_tokens, attributes)

    def _fresh(
        self, identities: list[Identity], bodies: Bodies, first: int, arrival_ns: list[int], prompt: list[int]
    ) -> list[Attributes]:
        """Return the attributes of rows that had none; one constructor call a row, since there may be millions."""
        nothing, count = NO_ATTRIBUTES, len(identities)
        reasoning = [0] * count if bodies.reasoning_tokens is None else bodies.reasoning_tokens.tolist()
        encoder = [0] * count if bodies.encoder_tokens is None else bodies.encoder_tokens.tolist()
        hints = [-1] * count if bodies.length_hint_tokens is None else bodies.length_hint_tokens.tolist()
        deadline_s = self._config.deadline_s
        span_ns = None if deadline_s is None else round(deadline_s * NS_PER_S)
        own = range(first * 2 + 1 + self.segment_base, (first + count) * 2 + 1 + self.segment_base, 2)
        rows = zip(identities, arrival_ns, prompt, own, reasoning, encoder, hints, strict=True)
        return [
            Attributes(
                nothing.session_id,
                nothing.turn,
                identity.base.tenant,
                identity.base.model,
                identity.base.priority,
                identity.base.slo_class,
                -1 if span_ns is None else arrival + span_ns,
                identity.base.lora,
                fill_prompt(identity.segments, tokens, segment) if identity.segments else (),
                nothing.output_segment,
                reasoned,
                encoded,
                hint,
            )
            for identity, arrival, tokens, segment, reasoned, encoded, hint in rows
        ]

    def _merged(
        self, old: Attributes, identity: Identity, bodies: Bodies, index: int, request: tuple[int, int, int]
    ) -> Attributes:
        number, arrival_ns, prompt_tokens = request
        base = identity.base
        reasoning, encoder, hint = bodies.row(index, old)
        segments = old.segments
        if identity.segments:
            segments = fill_prompt(identity.segments, prompt_tokens, (number * 2 + 1) + self.segment_base)
        elif segments and prompt_tokens > (known := sum(tokens for _, tokens in segments)):
            segments = (*segments, ((number * 2 + 1) + self.segment_base, prompt_tokens - known))
        return replace(
            old,
            tenant=old.tenant or base.tenant,
            model=old.model or base.model,
            priority=old.priority or base.priority,
            slo_class=old.slo_class or base.slo_class,
            lora=old.lora or base.lora,
            deadline_ns=old.deadline_ns if old.deadline_ns >= 0 else self.deadline_ns(arrival_ns),
            segments=segments,
            reasoning_tokens=reasoning,
            encoder_tokens=encoder,
            length_hint_tokens=hint,
        )


def session_attributes(
    base: Attributes,
    session: tuple[int, int],
    deadline_ns: int,
    content: tuple[tuple[tuple[int, int], ...], int],
    body: tuple[int, int, int],
) -> Attributes:
    """Return the attributes of one request of a session.

    ``session`` is (session id, turn), ``content`` is (segments, output segment), ``body`` a row of ``Bodies``.
    """
    return Attributes(
        session[0],
        session[1],
        base.tenant,
        base.model,
        base.priority,
        base.slo_class,
        deadline_ns,
        base.lora,
        content[0],
        content[1],
        body[0],
        body[1],
        body[2],
    )


def fill_prompt(
    shared: tuple[tuple[int, int], ...], prompt_tokens: int, own_segment: int
) -> tuple[tuple[int, int], ...]:
    """Return shared segments cut to a prompt's length, or completed to it by the request's own segment."""
    if len(shared) == 1:
        ((segment, tokens),) = shared
        if tokens < prompt_tokens:
            return ((segment, tokens), (own_segment, prompt_tokens - tokens))
    result: list[tuple[int, int]] = []
    left = prompt_tokens
    for segment, tokens in shared:
        if left <= 0:
            break
        result.append((segment, min(tokens, left)))
        left -= tokens
    if left > 0:
        result.append((own_segment, left))
    return tuple(result)
