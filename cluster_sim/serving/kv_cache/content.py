"""Content of a sequence: the identity of its tokens, which prefix caches compare.

A request's content is a chain of *pieces*, each the head of a named token stream: the segments of its attributes in
order, then what it generates.  Two sequences share KV exactly as far as their chains name the same streams at the same
positions.  Streams that nobody can share are named by the request, so that a preempted request still finds its own
blocks.
"""

from typing import Final

from cluster_sim.workload.request import Request

KIND_BITS: Final = 2
SHARED: Final = 0
"""Stream kind: a segment id of the workload."""
PRIVATE_PROMPT: Final = 1
"""Stream kind: the prompt (and output) of one request; the id is the request's."""
PRIVATE_OUTPUT: Final = 2
"""Stream kind: the output of one request behind a shared prompt; the id is the request's."""

OPEN_END: Final = 1 << 62
"""End of a content's last piece: it takes whatever is generated."""

Stream = int
"""A token stream's id and kind in one integer, see ``stream_of``."""

Piece = tuple[Stream, int, int]
"""(stream, first token, end token) of one piece; positions count from the start of the sequence."""


def stream_of(kind: int, stream_id: int) -> Stream:
    """Return the stream of ``kind`` that is called ``stream_id``."""
    return stream_id << KIND_BITS | kind


class Content:
    """The chain of pieces of one sequence, with the namespace that keeps adapters apart."""

    __slots__ = ("namespace", "pieces")

    def __init__(self, namespace: str, pieces: tuple[Piece, ...]) -> None:
        self.namespace = namespace
        self.pieces = pieces


def content_of(request: Request, own_output: int = -1) -> Content:
    """Return the content of ``request``: its prompt's pieces, the last one open for the generated tokens.

    With ``own_output`` these get a stream of this name, so that two attempts that run side by side in one cache, which
    would generate the same tokens, do not write the same blocks.
    Segments that do not add up to the prompt's length are cut or filled with private tokens, so that a trace whose
    hashes cover only part of the prompt stays usable.
    """
    attributes = request.attributes
    request_id = request.request_id
    if not attributes.segments and attributes.output_segment < 0 and own_output < 0:
        return Content(attributes.lora, ((request_id << KIND_BITS | PRIVATE_PROMPT, 0, OPEN_END),))
    pieces: list[Piece] = []
    position = 0
    prompt = request.prompt_tokens
    for segment_id, tokens in attributes.segments:
        end = position + tokens
        if end > prompt:
            end = prompt
            if end == position:
                break
        if tokens > 0:
            pieces.append((segment_id << KIND_BITS, position, end))
            position = end
    if position < prompt:
        pieces.append((stream_of(PRIVATE_PROMPT, request_id), position, prompt))
    output = attributes.output_segment
    if own_output >= 0:
        stream = stream_of(PRIVATE_OUTPUT, own_output)
    else:
        stream = stream_of(SHARED, output) if output >= 0 else stream_of(PRIVATE_OUTPUT, request_id)
        if pieces and pieces[-1][0] == stream:  # It goes on where the prompt's last segment ends.
            _, prompt, _ = pieces.pop()
    pieces.append((stream, prompt, OPEN_END))
    return Content(attributes.lora, tuple(pieces))
