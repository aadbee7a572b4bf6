"""Requests generated from ServeGen client files, window by window.

Draws are keyed by (client, window), so leaving clients out changes nothing for the others.
"""

import bisect
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Final, Literal

import numpy as np
from pydantic import Field

from cluster_sim.errors import InputError
from cluster_sim.options import HIGHEST_RATE, LONGEST_RUN_S, MOST_ITEMS, InputFile
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.columns import Columns, concatenate, sort_by_arrival
from cluster_sim.workload.kind_interface import WORKLOAD_KINDS, OpenLoopKind, OpenLoopOptions, WorkloadParts
from cluster_sim.workload.request import Attributes
from cluster_sim.workload.sampling.quantile import to_tokens
from cluster_sim.workload.sampling.random_streams import Floats, Ints, Stream
from cluster_sim.workload.servegen.client_files import Client, ClientWindow, read_clients
from cluster_sim.workload.servegen.window_arrivals import window_arrivals
from cluster_sim.workload.traces.clipping import Clip, clip_block
from cluster_sim.workload.traits.trait_options import Traits
from cluster_sim.workload.traits.trait_sampler import TraitSampler

_MEDIA: Final = ("image", "audio", "video")


class ServegenWorkload(OpenLoopOptions):
    """Requests generated from a ServeGen client folder: every client has its own rate, CV and lengths by window."""

    example: ClassVar = {"path": ".", "duration_s": 600}
    example_files: ClassVar = {
        "chunk-0-trace.csv": "0,2.0,0.5,Gamma,4.0,0.125\n",
        "chunk-0-dataset.json": '{"0": {"input_tokens": "{10: 0.5, 20: 0.5}", "output_tokens": "{99: 1}"}}',
    }

    kind: Literal["servegen"]
    path: InputFile = Field(description="Folder or tar.gz with chunk-i-trace.csv and chunk-i-dataset.json.")
    clients: int | None = Field(
        default=None, ge=1, le=MOST_ITEMS, description="Take the clients with the most requests only."
    )
    start_s: float = Field(default=0.0, ge=0, le=LONGEST_RUN_S, description="Start within the recorded time, seconds.")
    duration_s: float = Field(gt=0, le=LONGEST_RUN_S, description="Length to generate, seconds.")
    request_rate: float | None = Field(
        default=None,
        gt=0,
        le=HIGHEST_RATE,
        description="Scale all clients alike so that the mean rate is this, requests per second.",
    )
    count: int | None = Field(default=None, ge=1, le=MOST_ITEMS, description="Stop after this many requests.")
    clip: Clip | None = Field(default=None, description="Bounds on lengths.")
    traits: Traits = Field(default_factory=Traits, description="What the requests carry besides.")


@WORKLOAD_KINDS.register("servegen", ServegenWorkload)
class ServegenKind(OpenLoopKind[ServegenWorkload]):
    """Requests generated from a ServeGen client folder."""

    @property
    def total_requests(self) -> int | None:
        """The count of the options."""
        return self.options.count

    def scaled_rates(self, factor: float) -> ServegenWorkload:
        """Return the options with so many times the rate; raises InputError if they leave it to the recording."""
        rate = self.options.request_rate
        if rate is None:
            raise InputError(
                "workload: the recorded rate of kind servegen cannot be varied by one number; set workload.request_rate"
            )
        return self.options.model_copy(update={"request_rate": rate * factor})

    def columns(self, parts: WorkloadParts) -> "ServegenColumns":
        """Return the generated requests."""
        return ServegenColumns(self.options, *parts.take())


class ServegenColumns:
    """A ``ColumnSource`` of all clients, window by window."""

    def __init__(self, options: ServegenWorkload, part: int, stream: Stream) -> None:
        self._options = options
        self._stream = stream.child("servegen")
        clients = read_clients(Path(options.path))
        if options.clients is not None:
            busiest = sorted(clients, key=lambda client: (-client.expected_requests, client.number))[: options.clients]
            clients = sorted(busiest, key=lambda client: client.number)
        self._clients = clients
        self._traits = TraitSampler(options.traits, part, stream.child("traits"))
        self._end_s = options.start_s + options.duration_s
        edges = {window.start_s for client in clients for window in client.windows}
        inside = sorted(edge for edge in edges if options.start_s < edge < self._end_s)
        self._edges = [options.start_s, *inside, self._end_s]
        self._starts = [[window.start_s for window in client.windows] for client in clients]
        self._last_step_s = max(
            (starts[-1] - starts[-2] for starts in self._starts if len(starts) > 1), default=options.duration_s
        )
        self._scale = self._rate_scale()

    def _window(self, place: int, time_s: float) -> tuple[int, ClientWindow] | None:
        """Return the window of a client that holds at a time; None outside what was recorded."""
        starts = self._starts[place]
        index = bisect.bisect_right(starts, time_s) - 1
        if index < 0 or (index == len(starts) - 1 and time_s >= starts[-1] + self._last_step_s):
            return None
        return index, self._clients[place].windows[index]

    def _rate_scale(self) -> float:
        expected = 0.0
        for start, end in zip(self._edges, self._edges[1:], strict=False):
            for place in range(len(self._clients)):
                found = self._window(place, start)
                expected += found[1].request_rate * (end - start) if found else 0.0
        if expected <= 0:
            raise InputError(
                f"{self._options.path}: no client sends anything from start_s {self._options.start_s:g} for "
                f"{self._options.duration_s:g} s"
            )
        if self._options.request_rate is None:
            return 1.0
        return self._options.request_rate * self._options.duration_s / expected

    def columns(self) -> Iterator[Columns]:
        """Yield one block a window; every call starts over and gives the same."""
        first = 0
        left = self._options.count
        for start, end in zip(self._edges, self._edges[1:], strict=False):
            parts = [block for place in range(len(self._clients)) if (block := self._client(place, start, end))]
            if not parts:
                continue
            block = sort_by_arrival(concatenate(parts))
            if left is not None:
                block = block.rows(slice(0, left))
                left -= len(block)
            number = first
            first += len(block)
            block = self._traits.decorate(block, number)
            if self._options.clip is not None:
                block = clip_block(block, self._options.clip, Counter())
            if len(block):
                yield block
            if left == 0:
                return

    def _client(self, place: int, start: float, end: float) -> Columns | None:
        found = self._window(place, start)
        if found is None or found[1].request_rate <= 0:
            return None
        index, window = found
        client = self._clients[place]
        key = (index << 20) | round(start - window.start_s)
        random = self._stream.child(str(client.number)).generator(key)
        times = window_arrivals(window, end - start, self._scale, random)
        if not len(times):
            return None
        arrival = np.rint((times + (start - self._options.start_s)) * NS_PER_S).astype(np.int64)
        prompt, output, attributes = _lengths(client, start, len(times), random)
        return Columns(arrival, prompt, output, attributes)


def _draw(client: Client, start: float, field: str, random: np.random.Generator, count: int) -> Floats | None:
    histogram = client.histogram(start, field)
    return None if histogram is None else histogram.quantiles(random.random(count))


def _lengths(
    client: Client, start: float, count: int, random: np.random.Generator
) -> tuple[Ints, Ints, list[Attributes]]:
    """Draw lengths: prompt = text plus media tokens; part of the output may be reasoning."""
    text = _draw(client, start, "input_tokens", random, count)
    if text is None:
        text = _draw(client, start, "text_tokens", random, count)
    output = _draw(client, start, "output_tokens", random, count)
    if text is None or output is None:
        missing = "output_tokens" if text is not None else "input_tokens or text_tokens"
        raise InputError(f"{client.origin}: no {missing} in any window")
    encoder = np.zeros(count)
    for medium in _MEDIA:
        tokens = _draw(client, start, f"{medium}_tokens", random, count)
        items = _draw(client, start, f"{medium}_count", random, count)
        if tokens is not None:
            encoder += tokens * (1.0 if items is None else items)
    ratio = _draw(client, start, "reason_ratio", random, count)
    output_tokens = to_tokens(output)
    reasoning = np.zeros(count) if ratio is None else np.rint(np.clip(ratio, 0.0, 1.0) * output_tokens)
    tenant = f"client-{client.number}"
    attributes = [
        Attributes(tenant=tenant, reasoning_tokens=int(reasoned), encoder_tokens=int(encoded))
        for reasoned, encoded in zip(reasoning.tolist(), encoder.tolist(), strict=True)
    ]
    return to_tokens(text + encoder), output_tokens, attributes
