"""Actor that holds replicas: serves windows from its socket in a thread, control calls through Ray."""

import gc
import threading
import time
import traceback
from collections.abc import Sequence
from typing import Any

import zmq

from actors.places import Place, this_place
from actors.run_spec import ReplicaGroupRuntime, RunSpec, StageStart
from actors.stage_stream import StageStream
from actors.transport import BrokenLinkError, GroupSocket, LinkSettings
from cluster_sim.engine.group import Window
from cluster_sim.engine.instant import NEVER, Instant
from cluster_sim.engine.loop import ProtocolError
from cluster_sim.simulation.memory import Memory, memory_now


class GroupActor:
    """One group of replicas; a Ray actor, or in tests a plain object.

    ``build`` and ``start`` prepare it in this order; ``watch`` returns when its loop has ended.
    """

    def __init__(self, index: int) -> None:
        self._index = index
        self._runtime: ReplicaGroupRuntime | None = None
        self._stream: StageStream | None = None
        self._socket: GroupSocket | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Condition()
        """Held while replicas advance, so that control calls see them between two windows; notified when the stages
        have confirmed batches."""
        self._end: Instant = NEVER
        self._failure = ""
        self._cpu_s = 0.0

    def build(
        self, spec: RunSpec, members: Sequence[int], settings: LinkSettings, stages: int
    ) -> tuple[str, list[StageStart]]:
        """Build the replicas (indices from 0).

        Returns the endpoint for the last stage's confirmations, or "", and where the stages go on.
        """
        self._spec, self._settings, self._members = spec, settings, list(members)
        self._runtime = spec.group_runtime(self._members, is_staged=stages > 0)
        if not stages:
            return "", []
        self._stream = StageStream(settings, self._index, stages)
        return self._stream.endpoint, self._runtime.stage_starts()

    def start(self, hub_endpoint: str, stage_endpoint: str) -> None:
        """Connect to the hub, and to the first stage where stages are actors; start serving."""
        if self._stream is not None:
            self._stream.connect(stage_endpoint)
        self._socket = GroupSocket(self._settings, self._spec.codec(), self._index, hub_endpoint)
        self._thread = threading.Thread(target=self._serve, name=f"group-{self._index}", daemon=True)
        self._thread.start()

    def watch(self) -> str:
        """Return "" if the run has ended here, or the error."""
        assert self._thread is not None, "the actor was not started"
        self._thread.join()
        return self._failure

    def where(self) -> Place:
        """Return the node and the process of this actor."""
        return this_place()

    def memory(self) -> Memory:
        """Return the memory of this actor's node."""
        return memory_now()

    def drain(self) -> Any:
        """Return and forget the replicas' records."""
        assert self._runtime is not None, "the actor was not built"
        with self._lock:
            return self._runtime.drain()

    def take_state(self) -> tuple[Any, Any, list[int]]:
        """Return (the replicas' records, which are forgotten, their states, their sources) between two windows.

        Raises SnapshotError if a state cannot be written, ProtocolError if the stages do not confirm their batches.
        """
        runtime, stream = self._runtime, self._stream
        assert runtime is not None, "the actor was not built"
        limit_s = self._settings.limits.reply_s
        with self._lock:
            if stream is not None and not self._lock.wait_for(lambda: stream.is_confirmed, limit_s):
                raise ProtocolError(f"the stages of actor {self._index} left batches unconfirmed for {limit_s:g} s")
            return runtime.drain(), runtime.state(), list(runtime.group.processes)

    def results(self) -> tuple[Any, Any]:
        """Return (the rest of the replicas' records, their results)."""
        assert self._runtime is not None, "the actor was not built"
        with self._lock:
            return self._runtime.drain(), self._runtime.results(self._end)

    def cpu_s(self) -> float:
        """Return the CPU time of the loop, once it has ended."""
        return self._cpu_s

    def _serve(self) -> None:
        socket, runtime = self._socket, self._runtime
        assert socket is not None
        assert runtime is not None
        # Messages make no cycles: the collector would only visit every replica again and again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(100_000, 20, 100)
        try:
            socket.hello([index + 1 for index in self._members])
            if self._stream is None:
                self._loop(socket, runtime)
            else:
                self._loop_with_stages(socket, runtime, self._stream)
        except Exception as error:  # noqa: BLE001 - whatever it is, the hub must learn of it
            self._failure = f"{type(error).__name__}: {error}"
            where = traceback.format_tb(error.__traceback__)[-1].strip().partition("\n")[0]
            socket.fail(f"{self._failure} ({where})", is_broken=isinstance(error, BrokenLinkError))
        finally:
            self._cpu_s = time.thread_time()
            socket.close()
            if self._stream is not None:
                self._stream.close()

    def _loop(self, socket: GroupSocket, runtime: ReplicaGroupRuntime) -> None:
        while True:
            call = socket.receive()
            if isinstance(call, Window):
                with self._lock:
                    reply = runtime.group.step(call)
                socket.reply(reply)
            else:
                self._finish(runtime, call)
                return

    def _loop_with_stages(self, socket: GroupSocket, runtime: ReplicaGroupRuntime, stream: StageStream) -> None:
        poller = zmq.Poller()
        poller.register(socket.socket, zmq.POLLIN)
        poller.register(stream.confirmations, zmq.POLLIN)
        while True:
            ready = dict(poller.poll(round(self._settings.limits.idle_s * 1e3)))
            if stream.confirmations in ready:
                with self._lock:
                    stream.confirm()
                    self._lock.notify_all()
            if ready and socket.socket not in ready:
                continue
            call = socket.receive()
            if isinstance(call, Window):
                with self._lock:
                    reply = runtime.group.step(call)
                    batches = stream.take(runtime.take_batches())
                socket.reply(reply)
                stream.send(batches)
            else:
                self._finish(runtime, call)
                stream.send(stream.take(runtime.take_batches()))
                stream.finish()
                return

    def _finish(self, runtime: ReplicaGroupRuntime, end: Instant) -> None:
        self._end = end
        with self._lock:
            runtime.group.finish(end)
