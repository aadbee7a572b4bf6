"""Stream of batches from a group's replicas to their chain of stages, and the confirmations that come back."""

from collections.abc import Iterable, Sequence
from typing import Any

import zmq

from actors.frames import FrameKind, GapError, Link, StageRows, pack_rows, unpack_rows
from actors.network import new_socket
from actors.transport import BrokenLinkError, LinkSettings, is_readable, received
from cluster_sim.engine.loop import ProtocolError


def frame_rows(streams: Iterable[tuple[int, Sequence[int]]], stages: int, counts: dict[int, int]) -> StageRows:
    """Return flat streams (per batch: formation time, step and link of every stage, end) as columns.

    ``counts`` holds the number of batches so far by replica and is raised.
    """
    width = 2 + 2 * stages
    replicas: list[int] = []
    batches: list[int] = []
    columns: list[list[int]] = [[] for _ in range(width)]
    for source, flat in streams:
        count = len(flat) // width
        first = counts.get(source, 0)
        counts[source] = first + count
        replicas += [source] * count
        batches += range(first, first + count)
        for position, column in enumerate(columns):
            column.extend(flat[position::width])
    return StageRows(replicas, batches, columns[0], columns[-1], columns[1:-1])


class StageStream:
    """Sends a group's batches to its first stage and checks the confirmations of the last one."""

    def __init__(self, settings: LinkSettings, group: int, stages: int) -> None:
        self._settings = settings
        self._group = group
        self._stages = stages
        self._out = Link(settings.run, settings.epoch, group)
        self._back = Link(settings.run, settings.epoch, group)
        self._sent: dict[int, int] = {}
        self._confirmed: dict[int, int] = {}
        self._socket = new_socket(zmq.PUSH)
        self._listener = settings.network.listen(zmq.PULL, f"confirmations-{group}")
        self.confirmations = self._listener.socket
        self.endpoint = self._listener.endpoint

    def connect(self, endpoint: str) -> None:
        """Connect to the first stage."""
        self._settings.network.connect(self._socket, endpoint)

    def take(self, streams: list[tuple[int, Sequence[int]]]) -> StageRows | None:
        """Return new batches as ``send`` takes them, None if there are none; from now on they await confirmation."""
        return frame_rows(streams, self._stages, self._sent) if streams else None

    def send(self, rows: StageRows | None) -> None:
        """Send what ``take`` has returned."""
        if rows is not None:
            self._socket.send(self._out.seal(FrameKind.BATCH, pack_rows(rows)))

    @property
    def is_confirmed(self) -> bool:
        """Whether the stages have confirmed every batch."""
        return self._confirmed == self._sent

    def confirm(self) -> None:
        """Take every confirmation that is there; ProtocolError if a stage came to another time than the replica."""
        while True:
            try:
                opened = received(self.confirmations, self._back, self._listener.dropped, zmq.NOBLOCK)
            except zmq.Again:
                return
            except GapError as error:
                raise BrokenLinkError(f"actor {self._group} lost a confirmation of its stages: {error}") from error
            if opened is None:
                continue
            kind, body = opened
            if kind is FrameKind.ERROR:
                raise ProtocolError(f"a stage of actor {self._group} failed: {body}")
            if kind is FrameKind.BROKEN:
                raise BrokenLinkError(f"a link between the stages of actor {self._group} broke: {body}")
            rows = unpack_rows(body, 0)
            for replica, batch, ended_ns, end_ns in zip(*rows[:4], strict=True):
                expected = self._confirmed.get(replica, 0)
                if batch != expected or ended_ns != end_ns:
                    raise ProtocolError(
                        f"the stages ended batch {batch} of replica {replica} at {ended_ns} ns; "
                        f"the replica ended batch {expected} at {end_ns} ns"
                    )
                self._confirmed[replica] = expected + 1

    def finish(self) -> None:
        """Close the stream and wait until every batch is confirmed."""
        self._socket.send(self._out.seal(FrameKind.STOP, None))
        limit_s = self._settings.limits.reply_s
        while not self.is_confirmed:
            if not is_readable(self.confirmations, limit_s):
                raise BrokenLinkError(
                    f"actor {self._group} waited {limit_s:g} s for its stages: they confirmed "
                    f"{sum(self._confirmed.values())} of {sum(self._sent.values())} batches"
                    f"{self._listener.dropped.remark()}"
                )
            self.confirm()

    def close(self) -> None:
        """Close both sockets; frames already sent are still delivered."""
        self._socket.close()
        self._listener.close()


def forwarded(rows: StageRows, ends_ns: list[int]) -> StageRows:
    """Return the rows that a stage passes on: each batch arrives at the next one its link later."""
    links: Any = rows.tails[1]
    arrivals = [end + link for end, link in zip(ends_ns, links, strict=True)]
    return rows._replace(arrivals_ns=arrivals, tails=rows.tails[2:])
