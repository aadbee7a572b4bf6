"""Endpoint pickers of a few lines, and what their parts say of endpoints by hand."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cluster_sim.routing.candidates import Candidate, Candidates
from cluster_sim.routing.endpoint_picker.config_reader import read_config
from cluster_sim.routing.endpoint_picker.decision import Decision
from cluster_sim.routing.endpoint_picker.parts import Filter, Scorer
from cluster_sim.routing.endpoint_picker.scheduler import EndpointScheduler
from cluster_sim.workload.request import Attributes, Request

HEAD = {"apiVersion": "llm-d.ai/v1alpha1", "kind": "EndpointPickerConfig"}


def config(*plugins: str | dict[str, Any], **sections: Any) -> dict[str, Any]:
    """Return a document with plugins by type or as they stand in a file."""
    return {**HEAD, "plugins": [{"type": each} if isinstance(each, str) else each for each in plugins], **sections}


def scheduler(
    document: dict[str, Any],
    members: int | Sequence[Candidate] = 3,
    objectives: Mapping[str, tuple[int, int]] | None = None,
    seed: int = 7,
) -> EndpointScheduler:
    """Build a scheduler for some members; by number they are alike, with blocks of 16 tokens."""
    if isinstance(members, int):
        members = [Candidate(number, kv_blocks=1000, block_size=16) for number in range(members)]
    candidates = Candidates(len(members), seed, [0] * len(members), members)
    return EndpointScheduler(read_config(document), candidates, objectives or {})


def request(number: int = 0, tokens: int = 64, **attributes: Any) -> Request:
    """Return a request; without segments nobody shares its content."""
    return Request(number, 0, tokens, 4, Attributes(**attributes))


def prompt(*segments: tuple[int, int], number: int = 0, **attributes: Any) -> Request:
    """Return a request whose prompt has segments: (id, tokens)."""
    return request(number, sum(tokens for _, tokens in segments), segments=segments, **attributes)


def scores(
    built: EndpointScheduler, name: str, asked: Request, positions: Sequence[int] | None = None, now_ns: int = 0
) -> list[float]:
    """Return what a scorer says, rounded to six places."""
    scorer = built.parts.find(name)
    assert isinstance(scorer, Scorer)
    places = built.endpoints.everybody if positions is None else np.array(positions)
    found = scorer.scores(Decision(asked, now_ns, built.endpoints), places)
    return [round(float(score), 6) for score in found]


def kept(built: EndpointScheduler, name: str, asked: Request, positions: Sequence[int] | None = None) -> list[int]:
    """Return the endpoints that a filter keeps."""
    part = built.parts.find(name)
    assert isinstance(part, Filter)
    places = built.endpoints.everybody if positions is None else np.array(positions)
    return [int(position) for position in part.keep(Decision(asked, 0, built.endpoints), places)]


def decode(built: EndpointScheduler, asked: Request, eligible: Sequence[int] | None = None, now_ns: int = 0) -> int:
    """Return the endpoint that is chosen to decode, noting the choice."""
    return built.schedule(asked, now_ns, eligible, eligible).decode
