"""A network in which frames get lost, come twice, late, in another order or damaged, by a seeded schedule."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from random import Random

import zmq

from actors.network import Listener, LocalNetwork, new_socket

FAULTS = ("lost", "twice", "late", "swapped", "damaged")
LATE_S = 0.15


@dataclass
class FaultyNetwork:
    """Connections go through a thread that does one fault to a frame."""

    inner: LocalNetwork
    fault: str
    random: Random
    frame: int
    """Which frame of the faulty connection."""
    connection: int
    """Which connection, in the order in which they are made."""
    done: list[str] = field(default_factory=list)
    """The fault, once it has happened."""
    _numbers: Iterator[int] = field(default_factory=count)

    def listen(self, kind: int, name: str) -> Listener:
        """Return a bound socket."""
        return self.inner.listen(kind, name)

    def connect(self, connecting: "zmq.Socket[bytes]", endpoint: str) -> None:
        """Connect a socket, the chosen one through a faulty link."""
        if next(self._numbers) != self.connection:
            self.inner.connect(connecting, endpoint)
            return
        is_push = connecting.getsockopt(zmq.TYPE) == zmq.PUSH
        front = self.inner.listen(zmq.PULL if is_push else zmq.DEALER, "faulty")
        back = new_socket(zmq.PUSH if is_push else zmq.DEALER)
        if not is_push:
            back.setsockopt(zmq.IDENTITY, connecting.getsockopt(zmq.IDENTITY))
        self.inner.connect(back, endpoint)
        connecting.connect(front.endpoint)
        threading.Thread(target=self._carry, args=(front.socket, back), daemon=True).start()

    def _carry(self, front: "zmq.Socket[bytes]", back: "zmq.Socket[bytes]") -> None:
        """Carry frames in both directions; those away from ``front`` are counted."""
        poller = zmq.Poller()
        poller.register(front, zmq.POLLIN)
        if back.getsockopt(zmq.TYPE) != zmq.PUSH:
            poller.register(back, zmq.POLLIN)
        number, held = 0, b""
        while True:
            ready = dict(poller.poll(round(LATE_S * 1e3) if held else 20_000))
            if not ready and not held:
                break
            if back in ready:
                front.send(back.recv())
            if front in ready:
                frame = front.recv()
                if number == self.frame:
                    self.done.append(self.fault)
                    if self.fault in ("late", "swapped"):
                        held = frame
                    else:
                        for sent in self._faulty(frame):
                            back.send(sent)
                    number += 1
                    continue
                number += 1
                if held and self.fault == "late":
                    back.send(held)
                    held = b""
                back.send(frame)
            if held:
                back.send(held)
                held = b""
        front.close(0)
        back.close(0)

    def _faulty(self, frame: bytes) -> list[bytes]:
        if self.fault == "lost":
            return []
        if self.fault == "twice":
            return [frame, frame]
        place = self.random.randrange(len(frame))
        return [frame[:place] + bytes([frame[place] ^ (1 << self.random.randrange(8))]) + frame[place + 1 :]]
