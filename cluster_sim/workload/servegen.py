"""Requests generated from ServeGen client files.

Design: in every window a client's requests form a renewal process with the window's rate and gap distribution.  Its
first gap is the *stationary* residual (a uniform share of a length-biased gap), so the expected number in a window is
rate times length exactly, for slow clients too; without it bursty slow clients would come out too busy.  Draws are
keyed by (client, window), so leaving clients out changes nothing for the others.
"""

import bisect
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from cluster_sim.errors import InputError
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.clipping import clip_block
from cluster_sim.workload.columns import Columns, concatenate, sort_by_arrival
from cluster_sim.workload.options import ServegenWorkload
from cluster_sim.workload.readers.base import ReadReport
from cluster_sim.workload.request import Attributes
from cluster_sim.workload.sampling.distributions import to_tokens
from cluster_sim.workload.sampling.random_streams import Floats, Ints, Stream
from cluster_sim.workload.servegen_files import Client, Window, read_clients
from cluster_sim.workload.traits import TraitMaker

_MEDIA: Final = ("image", "audio", "video")


def residual_gap(window: Window, random: np.random.Generator) -> float:
    """Return a draw of the time to the first arrival of the stationary renewal process, for gaps of mean 1."""
    if window.family == "Weibull":
        one = 1.0 / window.shape
        biased = random.standard_gamma(1.0 + one) ** one / math.gamma(1.0 + one)
    else:
        biased = random.standard_gamma(window.shape + 1.0) / window.shape
    return float(biased * random.random())


def unit_gaps(window: Window, random: np.random.Generator, count: int) -> Floats:
    """Return gaps of mean 1 with the window's distribution."""
    if window.family == "Weibull":
        return random.weibull(window.shape, count) / math.gamma(1.0 + 1.0 / window.shape)
    return random.standard_gamma(window.shape, count) / window.shape


def window_arrivals(window: Window, length_s: float, scale: float, random: np.random.Generator) -> Floats:
    """Return the arrivals in a window, seconds from its start; ``scale`` multiplies the rate."""
    rate = window.request_rate * scale
    if rate <= 0:
        return np.empty(0)
    parts: list[Floats] = []
    now = residual_gap(window, random) / rate
    while now < length_s:
        count = max(int((length_s - now) * rate * 1.1) + 16, 16)
        times = now + np.concatenate([[0.0], np.cumsum(unit_gaps(window, random, count) / rate)])
        parts.append(times[:-1])
        now = float(times[-1])
    if not parts:
        return np.empty(0)
    whole: Floats = np.concatenate(parts)
    return whole[: int(np.searchsorted(whole, length_s, side="left"))]


class ServegenColumns:
    """A ``ColumnSource`` of all clients, window by window."""

    def __init__(self, config: ServegenWorkload, part: int, stream: Stream) -> None:
        self._config = config
        self._stream = stream.child("servegen")
        clients = read_clients(Path(config.path))
        if config.clients is not None:
            busiest = sorted(clients, key=lambda one: (-one.expected_requests, one.number))[: config.clients]
            clients = sorted(busiest, key=lambda one: one.number)
        self._clients = clients
        self._traits = TraitMaker(config.traits, part, stream.child("traits"))
        self._end_s = config.start_s + config.duration_s
        edges = {window.start_s for client in clients for window in client.windows}
        inside = sorted(edge for edge in edges if config.start_s < edge < self._end_s)
        self._edges = [config.start_s, *inside, self._end_s]
        self._starts = [[window.start_s for window in client.windows] for client in clients]
        self._last_step_s = max(
            (starts[-1] - starts[-2] for starts in self._starts if len(starts) > 1), default=config.duration_s
        )
        self._scale = self._rate_scale()

    def _window(self, place: int, time_s: float) -> tuple[int, Window] | None:
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
                f"{self._config.path}: no client sends anything from start_s {self._config.start_s:g} for "
                f"{self._config.duration_s:g} s"
            )
        if self._config.request_rate is None:
            return 1.0
        return self._config.request_rate * self._config.duration_s / expected

    def columns(self) -> Iterator[Columns]:
        """Yield one block a window; every call starts over and gives the same."""
        first = 0
        left = self._config.count
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
            if self._config.clip is not None:
                block = clip_block(block, self._config.clip, ReadReport().changed)
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
        arrival = np.rint((times + (start - self._config.start_s)) * NS_PER_S).astype(np.int64)
        prompt, output, attributes = _lengths(client, start, len(times), random)
        return Columns(arrival, prompt, output, attributes)


def _draw(client: Client, start: float, field: str, random: np.random.Generator, count: int) -> Floats | None:
    histogram = client.histogram(start, field)
    return None if histogram is None else histogram.at(random.random(count))


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
        raise InputError(f"client {client.number} of the ServeGen files has no {missing} in any window")
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
