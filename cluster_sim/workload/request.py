"""Request of a client, as the workload makes it and every layer reads it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Attributes:
    """The attributes that most requests leave at their defaults; requests without any share ``NO_ATTRIBUTES``."""

    session_id: int = -1
    """Conversation this request is a turn of; -1 when it stands alone."""
    turn: int = 0
    tenant: str = ""
    model: str = ""
    """Model asked for; empty means the study's only model."""
    priority: int = 0
    """vLLM's convention: a lower value is more urgent."""
    slo_class: str = ""
    deadline_ns: int = -1
    """Absolute simulated deadline; -1 when there is none."""
    lora: str = ""
    segments: tuple[tuple[int, int], ...] = ()
    """The prompt's content as (segment id, tokens) in order.  Ids are chained: equal ids at the end of equal chains
    mean equal tokens, so a shared prefix of ids is reusable KV.  Empty means content that nobody shares."""
    output_segment: int = -1
    """Id under which the generated tokens appear in a later turn's ``segments``; -1 when they never do.  That of the
    prompt's last segment says that they go on with it."""
    reasoning_tokens: int = 0
    """How many of the output tokens are reasoning that the user does not see."""
    encoder_tokens: int = 0
    """Multimodal encoder tokens to compute before the prefill."""
    length_hint_tokens: int = -1
    """A client-side prediction of the output length; -1 when there is none."""
    encoded_tokens: int = 0
    """Encoder tokens that an encoder apart from the replica has computed."""


NO_ATTRIBUTES = Attributes()


class Request:
    """One request.  ``request_id`` counts from 0 in order of production; times are integer ns from the run's start."""

    __slots__ = ("arrival_ns", "attributes", "output_tokens", "prompt_tokens", "request_id")

    def __init__(
        self,
        request_id: int,
        arrival_ns: int,
        prompt_tokens: int,
        output_tokens: int,
        attributes: Attributes = NO_ATTRIBUTES,
    ) -> None:
        self.request_id = request_id
        self.arrival_ns = arrival_ns
        self.prompt_tokens = prompt_tokens
        self.output_tokens = output_tokens
        self.attributes = attributes

    def __repr__(self) -> str:
        return (
            f"Request({self.request_id}, arrival_ns={self.arrival_ns}, "
            f"prompt_tokens={self.prompt_tokens}, output_tokens={self.output_tokens})"
        )
