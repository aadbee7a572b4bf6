"""Actor of one pipeline stage: a deterministic server of one ordered stream per replica.

It needs no horizon and no guarantee: start = max(arrival, free), end = start + step.  The replica runs the same
recurrence itself and never waits; the stage counts batches and times, forwards each batch to the next stage, and the
last one confirms, so that replica and stages prove each other right.
"""

import threading
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import zmq

from actors.frames import FrameKind, GapError, Link, StageRows, pack_rows, unpack_rows
from actors.network import new_socket
from actors.places import Place, this_place
from actors.run_spec import StageStart
from actors.stage_stream import forwarded
from actors.transport import BrokenLinkError, LinkSettings, is_readable, received


class StageCounts(NamedTuple):
    """Counts of one stage of one replica."""

    replica: int
    """Source number."""
    stage: int
    batches: int
    busy_ns: int
    queued_ns: int
    """Sum over batches of the time between arrival and start, since the actor was started."""


class StageServer:
    """The recurrence of one stage for every replica of a group."""

    def __init__(self, stage: int, starts: Iterable[StageStart] = ()) -> None:
        """``starts`` says where the stage goes on, if the run has begun before."""
        starts = list(starts)
        self._stage = stage
        self._free_ns = {start.replica: start.free_ns[stage] for start in starts}
        self._counts = {start.replica: [start.batches, start.busy_ns[stage], 0] for start in starts}

    def serve(self, rows: StageRows) -> list[int]:
        """Return when each batch ends at this stage."""
        ends: list[int] = []
        free = self._free_ns
        for replica, arrival, step in zip(rows.replicas, rows.arrivals_ns, rows.tails[0], strict=True):
            start = max(arrival, free.get(replica, 0))
            end = start + step
            free[replica] = end
            ends.append(end)
            counts = self._counts.setdefault(replica, [0, 0, 0])
            counts[0] += 1
            counts[1] += step
            counts[2] += start - arrival
        return ends

    def counts(self) -> list[StageCounts]:
        """Return the stage's counts by replica."""
        return [StageCounts(replica, self._stage, *self._counts[replica]) for replica in sorted(self._counts)]


class StageActor:
    """Stage ``stage`` of ``stages`` for one group of replicas; a Ray actor, or in tests a plain object."""

    def __init__(self, group: int, stage: int, stages: int) -> None:
        self._group = group
        self._stage = stage
        self._stages = stages
        self._server = StageServer(stage)
        self._thread: threading.Thread | None = None
        self._failure = ""

    def build(self, settings: LinkSettings) -> str:
        """Bind the stage's input; return its endpoint."""
        self._settings = settings
        self._in = Link(settings.run, settings.epoch, self._group)
        self._out = Link(settings.run, settings.epoch, self._group)
        self._input = settings.network.listen(zmq.PULL, f"stage-{self._group}-{self._stage}")
        self._output = new_socket(zmq.PUSH)
        return self._input.endpoint

    def start(self, next_endpoint: str, starts: Sequence[StageStart]) -> None:
        """Connect to the next stage, or from the last one to the replicas; start serving from ``starts`` on."""
        self._server = StageServer(self._stage, starts)
        self._settings.network.connect(self._output, next_endpoint)
        self._thread = threading.Thread(target=self._serve, name=f"stage-{self._group}-{self._stage}", daemon=True)
        self._thread.start()

    def watch(self) -> str:
        """Return "" if the stream has ended, or the error."""
        assert self._thread is not None, "the actor was not started"
        self._thread.join()
        return self._failure

    def where(self) -> Place:
        """Return the node and the process of this actor."""
        return this_place()

    def results(self) -> list[StageCounts]:
        """Return the stage's counts by replica."""
        return self._server.counts()

    def _serve(self) -> None:
        try:
            self._loop()
        except Exception as error:  # noqa: BLE001 - whatever it is, the replicas must learn of it
            self._failure = f"{type(error).__name__}: {error}"
            kind = FrameKind.BROKEN if isinstance(error, GapError | BrokenLinkError) else FrameKind.ERROR
            self._output.send(self._out.seal(kind, f"stage {self._stage}: {self._failure}"))
        finally:
            self._input.close()
            self._output.close()

    def _loop(self) -> None:
        is_last = self._stage == self._stages - 1
        limit_s = self._settings.limits.idle_s
        while True:
            if not is_readable(self._input.socket, limit_s):
                raise BrokenLinkError(
                    f"stage {self._stage} of actor {self._group} waited {limit_s:g} s for a batch"
                    f"{self._input.dropped.remark()}"
                )
            opened = received(self._input.socket, self._in, self._input.dropped)
            if opened is None:
                continue
            kind, body = opened
            if kind is FrameKind.STOP:
                if not is_last:
                    self._output.send(self._out.seal(kind, body))
                return
            if kind in (FrameKind.ERROR, FrameKind.BROKEN):
                self._output.send(self._out.seal(kind, body))
                return
            rows = unpack_rows(body, self._stages - self._stage)
            ends = self._server.serve(rows)
            if is_last:
                done = rows._replace(arrivals_ns=ends, tails=[])
                self._output.send(self._out.seal(FrameKind.BATCH_DONE, pack_rows(done)))
            else:
                self._output.send(self._out.seal(FrameKind.BATCH, pack_rows(forwarded(rows, ends))))
